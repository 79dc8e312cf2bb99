"""Artifacts as files: what was written is read back, and damage on the way is noticed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from inspector.errors import ArtifactError, UsageError
from inspector.operation.artifact_files import digest_file, read_artifact, write_artifact


def test_write_artifact_then_read_returns_the_checked_bytes(tmp_path: Path) -> None:
    path = tmp_path / "disc-1.artifact"
    write_artifact(path, b"artifact", overwrites=False)
    read = read_artifact(path)
    assert (read.content, read.is_checked) == (b"artifact", True)
    assert digest_file(path).read_text().split()[1] == "disc-1.artifact"


def test_write_artifact_over_a_file_needs_permission(tmp_path: Path) -> None:
    path = tmp_path / "disc-1.artifact"
    write_artifact(path, b"first", overwrites=False)
    with pytest.raises(UsageError, match="--force"):
        write_artifact(path, b"second", overwrites=False)
    assert read_artifact(path).content == b"first"
    write_artifact(path, b"second", overwrites=True)
    assert read_artifact(path).content == b"second"


def test_read_artifact_that_was_damaged_raises_and_one_without_a_digest_is_unchecked(tmp_path: Path) -> None:
    path = tmp_path / "disc-1.artifact"
    write_artifact(path, b"artifact", overwrites=False)
    path.write_bytes(b"artefact")
    with pytest.raises(ArtifactError, match="damaged"):
        read_artifact(path)
    digest_file(path).unlink()
    assert not read_artifact(path).is_checked
    with pytest.raises(UsageError, match="can't be read"):
        read_artifact(tmp_path / "none")


@pytest.mark.parametrize("form", ["{}\n", "\ufeff{}  bottle.artifact\r\n"])
def test_read_artifact_beside_a_digest_file_of_windows_is_checked(tmp_path: Path, form: str) -> None:
    path = tmp_path / "bottle.artifact"
    path.write_bytes(b"whole")
    digest = hashlib.sha256(b"whole").hexdigest().upper()
    digest_file(path).write_text(form.format(digest), encoding="utf-8")
    assert read_artifact(path).is_checked
    path.write_bytes(b"whale")
    with pytest.raises(ArtifactError, match="damaged"):
        read_artifact(path)
