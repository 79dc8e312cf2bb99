"""An exported version as one file that carries its own digest: the artifact's bytes, then one line with their SHA-256.

    <the artifact, as the registry holds it>inspector-sha256:<64 hex digits>\n

The line shows damage on the way, also where the side file stayed behind. It proves no origin: whoever changes the
artifact on purpose can write a new line. Files of before end without one.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from inspector.errors import ArtifactError, UsageError

MOST_BYTES = 512 * 1024 * 1024
"""The largest file that is read at all; a database takes no larger value for certain."""

_LABEL = b"inspector-sha256:"
_LINE = re.compile(rb"inspector-sha256:([0-9a-f]{64})\n\Z")
_LINE_BYTES = len(_LABEL) + 64 + 1


@dataclass(frozen=True, slots=True)
class Sealed:
    """`artifact`: the bytes without the line; `file_sha256` of the file with it. `is_sealed`: the line was there."""

    artifact: bytes
    artifact_sha256: str
    file_sha256: str
    is_sealed: bool

    def has_digest(self, expected: str) -> bool:
        """Of the file as `sha256sum` prints it, or of the artifact as the registry does."""
        return expected.lower() in (self.file_sha256, self.artifact_sha256)


def seal(artifact: bytes) -> bytes:
    """The file of an artifact."""
    return artifact + _LABEL + hashlib.sha256(artifact).hexdigest().encode("ascii") + b"\n"


def unseal(content: bytes) -> Sealed:
    """The artifact in a file, whether it is sealed or not. Raises ArtifactError where it has not the digest it says."""
    found = _LINE.search(content, max(0, len(content) - _LINE_BYTES))
    artifact = content if found is None else content[: found.start()]
    artifact_sha256 = hashlib.sha256(artifact).hexdigest()
    is_torn = found is None and _LABEL in content[-_LINE_BYTES:]
    if is_torn or (found is not None and found[1].decode("ascii") != artifact_sha256):
        raise ArtifactError("it was damaged on its way: its bytes do not have the SHA-256 that stands at its end.")
    return Sealed(artifact, artifact_sha256, hashlib.sha256(content).hexdigest(), found is not None)


def read_bounded(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """The whole of a regular file. Raises UsageError, before a byte is read, for anything else and for larger files."""
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UsageError(f"{path} is no file but a {_KINDS.get(stat.S_IFMT(status.st_mode), 'device')}.")
            if status.st_size > most_bytes:
                raise UsageError(
                    f"{path} has {status.st_size / 2**20:.0f} MiB; an exported version has at most {most_bytes >> 20}."
                )
            return file.read(most_bytes)
    except IsADirectoryError as error:
        raise UsageError(f"{path} is a folder; name the file that `inspector products export` wrote.") from error
    except OSError as error:
        raise UsageError(f"{path} can't be read ({error.strerror}).") from error


_KINDS = {stat.S_IFIFO: "pipe", stat.S_IFCHR: "device", stat.S_IFBLK: "device", stat.S_IFDIR: "folder"}


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a named pipe that nobody writes to would hold up everything
