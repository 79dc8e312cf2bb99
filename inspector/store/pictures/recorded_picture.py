"""A picture and its record in one file: the unchanged bytes, then the record, then a trailer of fixed size.

Viewers show the picture, since JPEG and PNG end before the record. One file costs half of two, and the trailer comes
last, so a file with a valid trailer is whole. All functions block: call them on worker threads.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from inspector.files import open_kept, open_regular, remove
from inspector.store.pictures.folders import read_kept, translated

_MARK: Final = b"INSPLATE"
_TRAILER: Final = struct.Struct("<III8s")
"""Length of the record, its CRC-32, tries, mark."""

_TRIES: Final = struct.Struct("<I")
_TRIES_FROM_END: Final = _TRIES.size + len(_MARK)


@dataclass(frozen=True, slots=True)
class RecordedPicture:
    """The content of a file. `tries` is counted in place, without writing the file again."""

    payload: bytes
    record: bytes
    tries: int


def write_recorded(path: Path, picture: RecordedPicture, stamp_ns: int) -> None:
    """Write the file anew, with `stamp_ns` as its time. A kill meanwhile leaves a file without a valid trailer.

    Raises StateUnusable, and then leaves no file.
    """
    trailer = _TRAILER.pack(len(picture.record), zlib.crc32(picture.record), picture.tries, _MARK)
    with translated(path):
        file = open_kept(path, os.O_WRONLY | os.O_TRUNC)
        try:
            _write_all(file, [picture.payload, picture.record + trailer])
            os.utime(file, ns=(stamp_ns, stamp_ns))
        except OSError:
            remove(path)
            raise
        finally:
            os.close(file)


def read_recorded(path: Path) -> RecordedPicture:
    """Raises ValueError for a file that is not whole, and OSError."""
    content = read_kept(path)
    length, checksum, tries = _trailer(content)
    at = len(content) - _TRAILER.size - length
    record = content[at : at + length]
    if zlib.crc32(record) != checksum:
        raise ValueError("its record is damaged")
    return RecordedPicture(content[:at], record, tries)


def size_of_picture(path: Path, file_bytes: int) -> int:
    """Size of the picture in a file of `file_bytes`. Raises ValueError for a file that is not whole, and OSError."""
    with open_regular(path) as file:
        file.seek(max(0, file_bytes - _TRAILER.size))
        length, _, _ = _trailer(file.read(_TRAILER.size), file_bytes)
    return file_bytes - _TRAILER.size - length


def note_tries(path: Path, tries: int) -> None:
    """Set the tries of a whole file. Raises OSError."""
    file = open_kept(path, os.O_WRONLY, creates=False)
    try:
        os.pwrite(file, _TRIES.pack(tries), os.fstat(file).st_size - _TRIES_FROM_END)
    finally:
        os.close(file)


def _trailer(end: bytes, file_bytes: int | None = None) -> tuple[int, int, int]:
    """Length of the record, its checksum and the tries, from the end of a file."""
    room = (len(end) if file_bytes is None else file_bytes) - _TRAILER.size
    if len(end) >= _TRAILER.size:
        length, checksum, tries, mark = _TRAILER.unpack(end[-_TRAILER.size :])
        if mark == _MARK and length <= room:
            return length, checksum, tries
    raise ValueError("it was not written to its end")


def _write_all(file: int, parts: list[bytes]) -> None:
    written = os.writev(file, parts)
    left = memoryview(b"".join(parts))[written:] if written < sum(map(len, parts)) else memoryview(b"")
    while left:
        left = left[os.write(file, left) :]
