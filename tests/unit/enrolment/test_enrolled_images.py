"""The list of files behind a version: what has gone or changed is said, never passed over."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from inspector.enrolment.enrolled_images import folder_of, keep_list, load_list, without
from inspector.errors import EnrolmentError
from inspector.training.dataset.folders import ImageSource

DIGEST = "ab" * 32


def images(folder: Path, count: int = 3) -> list[tuple[ImageSource, str]]:
    found = []
    for number in range(count):
        file = folder / f"{number}.png"
        file.write_bytes(b"picture %d" % number)
        found.append((ImageSource(str(file), path=file), hashlib.sha256(file.read_bytes()).hexdigest()))
    return found


def test_list_gives_back_the_files(tmp_path: Path) -> None:
    kept = images(tmp_path)
    assert keep_list(tmp_path / "state", "disc", DIGEST, kept)
    assert [each.read() for each in load_list(tmp_path / "state", "disc", DIGEST)] == [
        source.read() for source, _ in kept
    ]


def test_list_with_a_lost_or_changed_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    keep_list(tmp_path / "state", "disc", DIGEST, images(tmp_path))
    (tmp_path / "0.png").unlink()
    (tmp_path / "2.png").write_bytes(b"another picture")
    with pytest.raises(EnrolmentError, match=r"2 of the 3 images .*0\.png.*2\.png.*enrol without --add"):
        load_list(tmp_path / "state", "disc", DIGEST)


def test_list_that_was_never_kept_says_why(tmp_path: Path) -> None:
    assert not keep_list(tmp_path / "state", "disc", DIGEST, [(ImageSource("bytes", payload=b"x"), "")])
    with pytest.raises(EnrolmentError, match="not known which files the live version of disc"):
        load_list(tmp_path / "state", "disc", DIGEST)
    assert not folder_of(tmp_path / "state", "disc").exists()


def test_without_takes_paths_and_file_names_and_tells_what_fits_none(tmp_path: Path) -> None:
    sources = [source for source, _ in images(tmp_path)]
    kept, unknown = without(sources, ["1.png", str(tmp_path / "2.png"), "9.png"])
    assert [Path(each.name).name for each in kept] == ["0.png"]
    assert unknown == ["9.png"]
