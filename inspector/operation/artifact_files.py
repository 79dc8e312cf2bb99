"""Artifacts as files, carried from one line to another. The file's SHA-256 lies beside it, in FILE.sha256."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from inspector.errors import ArtifactError, UsageError
from inspector.text import decoded


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """The content of an artifact's file. `is_checked`: it was compared with the SHA-256 beside it."""

    content: bytes
    is_checked: bool


def digest_file(path: Path) -> Path:
    """The path of the file that holds the SHA-256 of `path`."""
    return path.with_name(f"{path.name}.sha256")


def write_artifact(path: Path, artifact: bytes, *, overwrites: bool) -> None:
    """Writes the artifact and its SHA-256. Raises UsageError where a file is in the way or can't be written."""
    _write(path, artifact, overwrites)
    _write(digest_file(path), f"{hashlib.sha256(artifact).hexdigest()}  {path.name}\n".encode(), overwrites=True)


def read_artifact(path: Path) -> ArtifactFile:
    """The file's content. Raises UsageError where it can't be read, ArtifactError where its SHA-256 is another."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} can't be read ({error.strerror}).") from error
    beside = digest_file(path)
    try:
        expected = decoded(beside.read_bytes()).split()[0].lower()  # as sha256sum or Get-FileHash write it
    except (OSError, ValueError, IndexError):
        return ArtifactFile(content, is_checked=False)
    if hashlib.sha256(content).hexdigest() != expected:
        raise ArtifactError(
            f"{path} was damaged or cut short on its way: it does not have the SHA-256 in {beside.name}."
        )
    return ArtifactFile(content, is_checked=True)


def _write(path: Path, content: bytes, overwrites: bool) -> None:
    try:
        with path.open("wb" if overwrites else "xb") as file:
            file.write(content)
    except FileExistsError:
        raise UsageError(f"There is a file {path} already; name another with --output, or use --force.") from None
    except OSError as error:
        raise UsageError(f"{path} can't be written ({error.strerror}).") from error
