"""Reads records whose header names are not UTF-8.

aiokafka decodes every name strictly. Any producer may send a record with a name in Latin-1, and that record would
end the consumer, and end it again after each restart. Here the bytes of such a name become lone surrogates, and
`stream.envelope` leaves the name out. All other batches are read at aiokafka's own speed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy


def ensure_header_names_are_taken() -> None:
    """Make every consumer of this process read names as described above."""
    fetcher.MemoryRecords = _Records  # aiokafka has no hook for this


class _Records(_MemoryRecordsPy):  # type: ignore[misc]  # aiokafka comes without types
    def next_batch(self, *sizes: int) -> _Batch | None:
        content = self._next_slice
        batch = super().next_batch(*sizes)
        return None if batch is None else _Batch(batch, content)


class _Batch:
    """A batch of records. It is read again with lenient names if aiokafka's strict reading fails."""

    def __init__(self, strict: Any, content: memoryview) -> None:
        self._strict = strict
        self._content = content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._strict, name)

    def __next__(self) -> Any:
        return next(self._strict)

    def __iter__(self) -> Iterator[Any]:
        read = 0
        try:
            for record in self._strict:
                read += 1
                yield record
        except UnicodeDecodeError:
            pass
        except CorruptRecordException as error:
            if not isinstance(error.__cause__, UnicodeDecodeError):
                raise
        else:
            return
        lenient = iter(_DefaultRecordBatchPy(self._content))  # from here on it is decompressed
        lenient._buffer = _Text(lenient._buffer)
        yield from islice(lenient, read, None)


class _Text(bytes):
    """Bytes whose slices decode to text even where they are not UTF-8."""

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        return _Text(part) if isinstance(key, slice) else part

    def decode(self, encoding: str = "utf-8", _errors: str = "strict") -> str:
        return super().decode(encoding, "surrogateescape")
