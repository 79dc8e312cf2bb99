"""An exported version as one file that carries its own digest: the artifact's bytes, then one line with their SHA-256.

    <the artifact, as the registry holds it>inspector-sha256:<64 hex digits>\n

The line shows whether the file was damaged on its way, even where the file with the digest was left behind. The line
does not prove where the artifact comes from: anyone who changes the artifact on purpose can write a new line. Files
that older versions exported have no such line.
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
"""The largest file that is read, in bytes. A database may refuse a larger value."""

_LABEL = b"inspector-sha256:"
_LINE = re.compile(rb"inspector-sha256:([0-9a-f]{64})\n\Z")
_LINE_BYTES = len(_LABEL) + 64 + 1


@dataclass(frozen=True, slots=True)
class Sealed:
    """An artifact read from an exported file.

    `artifact`: the bytes without the line. `file_sha256`: digest of the whole file, with the line. `is_sealed`: whether
    the file had the line.
    """

    artifact: bytes
    artifact_sha256: str
    file_sha256: str
    is_sealed: bool

    def has_digest(self, expected: str) -> bool:
        """Whether `expected` is the digest of the file, as `sha256sum` prints it, or the registry's of the artifact."""
        return expected.lower() in (self.file_sha256, self.artifact_sha256)


def seal(artifact: bytes) -> bytes:
    """The content of the file that an artifact is exported as: the artifact's bytes and the line with their digest."""
    return artifact + _LABEL + hashlib.sha256(artifact).hexdigest().encode("ascii") + b"\n"


def unseal(content: bytes) -> Sealed:
    """The artifact in a file, sealed or not.

    Raises ArtifactError where the bytes do not have the digest in the line.
    """
    found = _LINE.search(content, max(0, len(content) - _LINE_BYTES))
    artifact = content if found is None else content[: found.start()]
    artifact_sha256 = hashlib.sha256(artifact).hexdigest()
    is_torn = found is None and _LABEL in content[-_LINE_BYTES:]
    if is_torn or (found is not None and found[1].decode("ascii") != artifact_sha256):
        raise ArtifactError("it was damaged on its way: its bytes do not have the SHA-256 that stands at its end.")
    return Sealed(artifact, artifact_sha256, hashlib.sha256(content).hexdigest(), found is not None)


def read_bounded(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """The content of a regular file.

    Raises UsageError, before a byte is read, where the path is not a regular file or has more than `most_bytes`.
    """
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
    return os.open(path, flags | os.O_NONBLOCK)  # opening a named pipe without a writer would block forever
