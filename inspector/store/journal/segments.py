"""The journal's files: the form of a record in a segment, and the reading of damaged segments.

A record is a mark, the length and the CRC-32 of its payload, then the payload. The mark has bytes that
occur in no UTF-8 text, so that reading can go on after a damaged stretch. This module does not depend on verdicts.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from inspector.errors import JournalFull, StateUnusable
from inspector.files import open_kept

MARK: Final = b"\xffJ1\xfe"
_HEADER: Final = struct.Struct("<4sII")
HEADER_BYTES: Final = _HEADER.size
MOST_PAYLOAD_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Record:
    """A payload and the position where its record starts. `size_bytes` includes the header."""

    offset: int
    payload: bytes

    @property
    def size_bytes(self) -> int:
        return HEADER_BYTES + len(self.payload)


@dataclass(frozen=True, slots=True)
class Scan:
    """The readable records. `gaps`: damaged stretches before good records; `end`: the end of the last good record."""

    records: list[Record]
    gaps: list[tuple[int, int]]
    end: int


def framed(payload: bytes) -> bytes:
    """The record of a payload."""
    return _HEADER.pack(MARK, len(payload), zlib.crc32(payload)) + payload


def scan(content: bytes) -> Scan:
    """Every whole record of a segment, in order. Never raises, whatever the content."""
    records: list[Record] = []
    gaps: list[tuple[int, int]] = []
    at = end = 0
    while (record := _next_record(content, at)) is not None:
        if record.offset > end:
            gaps.append((end, record.offset))
        records.append(record)
        at = end = record.offset + record.size_bytes
    return Scan(records, gaps, end)


def _next_record(content: bytes, start: int) -> Record | None:
    at = start
    while (at := content.find(MARK, at)) >= 0:
        body = at + HEADER_BYTES
        if body > len(content):
            return None
        _, length, checksum = _HEADER.unpack_from(content, at)
        if length <= min(MOST_PAYLOAD_BYTES, len(content) - body):
            payload = content[body : body + length]
            if zlib.crc32(payload) == checksum:
                return Record(at, payload)
        at += 1
    return None


class Segment:
    """One append-only file; `number` rises from file to file. Raises JournalFull and StateUnusable throughout."""

    def __init__(self, path: Path) -> None:
        self.number = int(path.stem)
        self.path = path
        with translated(path):
            self._file = open_kept(path, os.O_RDWR | os.O_APPEND)
            self.size_bytes = os.fstat(self._file).st_size
        self._found_bytes = self.size_bytes
        self._durable_bytes = 0
        self._is_doubtful = False

    def append(self, payload: bytes) -> int:
        """Append a record; returns its start. The operating system then has the whole record or no part of it."""
        data = framed(payload)
        start = self.size_bytes
        with translated(self.path):
            written = os.write(self._file, data)
            if written < len(data):
                os.ftruncate(self._file, start)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size_bytes += written
        return start

    def read(self, offset: int, size_bytes: int) -> bytes:
        """The payload of the record with this start and size."""
        with translated(self.path):
            return os.pread(self._file, size_bytes - HEADER_BYTES, offset + HEADER_BYTES)

    def content(self) -> bytes:
        """The bytes of the whole file."""
        with translated(self.path):
            return os.pread(self._file, self.size_bytes, 0)

    def truncate(self, size_bytes: int) -> None:
        """Cuts off the unreadable end of the file."""
        with translated(self.path):
            os.ftruncate(self._file, size_bytes)
        self.size_bytes = self._found_bytes = size_bytes

    def ensure_durable(self) -> None:
        """The file is on stable storage, under its name, when this returns. Call from any thread, one at a time."""
        goal = self.size_bytes
        if self._is_doubtful:
            self._write_again(goal)
        self._is_doubtful = True
        with translated(self.path):
            os.fsync(self._file)
        self._is_doubtful = False
        self._durable_bytes = goal
        self.ensure_in_place()

    def _write_again(self, end: int) -> None:
        """Hand the operating system once more what a failed fsync left unsure: it reports each loss only once.

        Raises StateUnusable where what this process has appended can't be read back whole.
        """
        self.ensure_in_place()
        start = self._durable_bytes
        with translated(self.path):
            content = os.pread(self._file, end - start, start)
            own = content[max(0, self._found_bytes - start) :]
            scanned = scan(own)
            if len(content) < end - start or scanned.gaps or scanned.end < len(own):
                raise StateUnusable(f"{self.path} has lost records on a full disk; free some space, then start again.")
            file = open_kept(self.path, os.O_RDWR, creates=False)  # self._file can only append
            try:
                while content:
                    written = os.pwrite(file, content, start)
                    start, content = start + written, content[written:]
            finally:
                os.close(file)

    def ensure_in_place(self) -> None:
        """Raises StateUnusable where another file has this one's name, or none: the next agent would not find it."""
        with translated(self.path):
            here, named = os.fstat(self._file), self.path.lstat()
        if (here.st_dev, here.st_ino) != (named.st_dev, named.st_ino):
            raise StateUnusable(f"{self.path} was replaced while it was in use; leave the journal's folder alone.")

    def close(self) -> None:
        """Close the file. Call once only."""
        os.close(self._file)


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raises JournalFull if the disk is full, and StateUnusable for any other error of a file."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise JournalFull(f"The disk of {path.parent} is full; free some space.") from error
        raise StateUnusable(f"{path} can't be used ({error.strerror}); check its owner and its disk.") from error
