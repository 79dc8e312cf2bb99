"""Exported versions as files: what was written is read back, and damage on the way is noticed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from inspector.errors import ArtifactError, UsageError
from inspector.operation.artifact_files import digest_file, read_artifact, write_artifact
from inspector.training.enrol import EnrolmentOptions, enrol
from tests.unit.drawings import FakeEngine, good_images


@pytest.fixture(scope="module")
def artifact() -> bytes:
    """An artifact that loads."""
    return enrol("disc", good_images("disc", 6), EnrolmentOptions(profile="fast"), FakeEngine()).artifact


def test_write_artifact_then_read_returns_the_checked_version(tmp_path: Path, artifact: bytes) -> None:
    path = tmp_path / "disc-1.artifact"
    assert write_artifact(path, artifact, overwrites=False) == hashlib.sha256(path.read_bytes()).hexdigest()
    offered = read_artifact(path)
    assert (offered.product, offered.artifact) == ("disc", artifact)
    assert offered.digest == hashlib.sha256(artifact).hexdigest()
    assert offered.origin == "disc-1.artifact, checked by the SHA-256 at its end, disc-1.artifact.sha256"
    assert digest_file(path).read_text().split()[1] == "disc-1.artifact"


def test_write_artifact_over_a_file_needs_permission(tmp_path: Path, artifact: bytes) -> None:
    path = tmp_path / "disc-1.artifact"
    write_artifact(path, b"first", overwrites=False)
    with pytest.raises(UsageError, match="--force"):
        write_artifact(path, artifact, overwrites=False)
    assert path.read_bytes().startswith(b"first")
    write_artifact(path, artifact, overwrites=True)
    assert read_artifact(path).artifact == artifact


def test_read_artifact_without_any_digest_needs_one_or_trust(tmp_path: Path, artifact: bytes) -> None:
    path = tmp_path / "disc-1.artifact"
    path.write_bytes(artifact)
    with pytest.raises(UsageError, match="Nothing says whether"):
        read_artifact(path)
    assert read_artifact(path, is_trusted=True).origin == "disc-1.artifact, trusted, not checked"
    assert read_artifact(path, hashlib.sha256(artifact).hexdigest()).origin == "disc-1.artifact, checked by --sha256"
    with pytest.raises(UsageError, match="can't be read"):
        read_artifact(tmp_path / "none")


@pytest.mark.parametrize("form", [b"{}\n", b"\xef\xbb\xbf{}  bottle.artifact\r\n", b"\\{}  gr\\\\n\xf6.artifact\n"])
def test_read_artifact_beside_a_digest_file_of_any_tool_is_checked(
    tmp_path: Path, artifact: bytes, form: bytes
) -> None:
    path = tmp_path / "bottle.artifact"
    path.write_bytes(artifact)
    digest_file(path).write_bytes(form.replace(b"{}", hashlib.sha256(artifact).hexdigest().upper().encode()))
    assert "checked by bottle.artifact.sha256" in read_artifact(path).origin
    path.write_bytes(artifact[:-1])
    with pytest.raises(ArtifactError, match="damaged"):
        read_artifact(path)


def test_write_artifact_of_a_name_that_is_not_utf8_is_read_back(tmp_path: Path, artifact: bytes) -> None:
    path = tmp_path / os.fsdecode(b"gr\xf6.artifact")
    write_artifact(path, artifact, overwrites=False)
    assert read_artifact(path).origin.startswith(r"gr\xf6.artifact, checked by ")
