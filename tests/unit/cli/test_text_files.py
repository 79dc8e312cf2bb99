"""Lists of names, as editors of other systems write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from inspector.cli.terminal.naming import names_given
from inspector.errors import UsageError


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_names_from_a_file_of_windows_are_the_same_names(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "names.txt"
    file.write_bytes("a=bolt\r\nb=nut\r\n".encode(encoding))
    assert names_given(None, file, ["a", "b"]) == {"a": "bolt", "b": "nut"}


def test_names_from_a_file_in_utf_16_say_to_save_it_as_utf_8(tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_bytes("a=bolt\n".encode("utf-16"))
    with pytest.raises(UsageError, match="save it as UTF-8"):
        names_given(None, file, ["a"])


def test_names_from_a_device_without_end_are_one_sentence() -> None:
    with pytest.raises(UsageError, match="more than 4 MiB; name the right file"):
        names_given(None, Path("/dev/zero"), ["a"])
