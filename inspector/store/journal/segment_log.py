"""An append-only log of payloads over segment files, in a folder that one process holds at a time.

It handles order, places and durability, but not the meaning of the payloads. Appending is one write on the caller's
thread. fsync and unlink run on a thread of the log, in the order of the calls, so that a segment is
never removed before its copied entries are on stable storage.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from inspector.errors import InspectorError, JournalDamaged, JournalFull, StateUnusable
from inspector.files import entries, make_folder, remove
from inspector.store.journal.segments import HEADER_BYTES, Segment, scan, translated

LOOK_S: Final = 1.0
"""Time between two looks whether the newest segment still has its name."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a record. `size_bytes` includes its header."""

    segment: int
    offset: int
    size_bytes: int


class SegmentLog:
    """Once entered, the folder is locked and its newest segment is ready; a torn record at the end is cut off.

    `damage` lists the stretches that could not be read, after `records` was read to its end.
    """

    def __init__(self, folder: Path, segment_bytes: int) -> None:
        self.damage: list[JournalDamaged] = []
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._sizes: dict[int, int] = {}  # sizes of sealed segments, oldest first
        self._sealed_bytes = 0
        self._reader: Segment | None = None
        self._resources = contextlib.ExitStack()
        self._appended = self._durable = 0
        self._syncing: asyncio.Future[None] | None = None
        self._failure: InspectorError | None = None
        self._unsealed: list[Segment] = []  # of the worker: sealed, and the disk was too full to make them durable
        self._looked_s = time.monotonic()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as undo:
            with translated(self._folder):
                make_folder(self._folder)
                self._folder_file = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            undo.callback(os.close, self._folder_file)
            self._lock()
            with translated(self._folder):
                names = [path for path, _ in entries(self._folder) if path.suffix == ".journal"]
            numbers = sorted(int(path.stem) for path in names if path.stem.isdigit())
            for number in numbers[:-1]:
                with translated(self._path(number)):
                    self._sizes[number] = self._path(number).lstat().st_size
            self._sealed_bytes = sum(self._sizes.values())
            self._newest = Segment(self._path(numbers[-1] if numbers else 1))
            undo.callback(self._close_newest)
            self._worker = undo.enter_context(concurrent.futures.ThreadPoolExecutor(1, "journal"))
            self._resources = undo.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._close_reader()
        self._resources.close()

    @property
    def size_bytes(self) -> int:
        """Size of all segments together."""
        return self._sealed_bytes + self._newest.size_bytes

    @property
    def newest_number(self) -> int:
        return self._newest.number

    @property
    def oldest_sealed(self) -> tuple[int, int] | None:
        """Number and size of the oldest sealed segment, or None."""
        return next(iter(self._sizes.items()), None)

    def records(self) -> Iterator[tuple[Place, bytes]]:
        """Every readable record, oldest first. An unreadable end of the newest segment is cut off."""
        for number in list(self._sizes):
            yield from self._records_of(self._opened(number))
        yield from self._records_of(self._newest, is_newest=True)

    def append(self, payload: bytes) -> Place:
        """Append a payload; returns its place. It survives kill -9. Raises JournalFull on a full disk.

        Raises StateUnusable where the newest segment was removed or moved away, which is looked at once a second.
        """
        if self._newest.size_bytes >= self._segment_bytes:
            self._rotate()
        if (now_s := time.monotonic()) - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            self._newest.ensure_in_place()
        offset = self._newest.append(payload)
        self._appended += 1
        return Place(self._newest.number, offset, HEADER_BYTES + len(payload))

    def read(self, place: Place) -> bytes:
        """The payload at this place."""
        segment = self._newest if place.segment == self._newest.number else self._opened(place.segment)
        return segment.read(place.offset, place.size_bytes)

    def remove_oldest(self) -> None:
        """Remove the oldest sealed segment, once everything appended until now is on stable storage."""
        number = next(iter(self._sizes))
        self._sealed_bytes -= self._sizes.pop(number)
        if self._reader is not None and self._reader.number == number:
            self._close_reader()
        self._worker.submit(self._unlink, self._newest, self._path(number))

    async def ensure_durable(self) -> None:
        """Everything appended before the call is on stable storage; concurrent calls share one fsync."""
        goal = self._appended
        while self._durable < goal:
            if self._syncing is None or self._syncing.done():
                self._syncing = asyncio.ensure_future(self._sync_once())
            # A cancelled caller must not cancel the fsync of the other callers.
            await asyncio.shield(self._syncing)

    async def _sync_once(self) -> None:
        goal = self._appended
        await asyncio.wrap_future(self._worker.submit(self._sync, self._newest))
        self._durable = goal

    def _sync(self, newest: Segment) -> None:
        if self._failure is not None:
            raise self._failure
        while self._unsealed:
            self._unsealed[0].ensure_durable()
            self._unsealed.pop(0).close()
        newest.ensure_durable()
        with translated(self._folder):
            os.fsync(self._folder_file)

    def _unlink(self, newest: Segment, path: Path) -> None:
        try:
            self._sync(newest)
            with translated(path):
                remove(path)
        except InspectorError as error:
            _LOG.error("a finished journal segment stays for now: %s", error)

    def _seal(self, segment: Segment) -> None:
        try:
            segment.ensure_durable()
        except JournalFull:
            self._unsealed.append(segment)  # until there is room no sync succeeds
            return
        except InspectorError as error:
            self._failure = error  # it is unknown what was lost, so no later sync may succeed
        segment.close()

    def _rotate(self) -> None:
        full = self._newest
        self._newest = Segment(self._path(full.number + 1))
        self._sizes[full.number] = full.size_bytes
        self._sealed_bytes += full.size_bytes
        self._worker.submit(self._seal, full)

    def _records_of(self, segment: Segment, *, is_newest: bool = False) -> Iterator[tuple[Place, bytes]]:
        scanned = scan(segment.content())
        gaps = list(scanned.gaps)
        if scanned.end < segment.size_bytes:
            if is_newest:
                torn = segment.size_bytes - scanned.end
                _LOG.warning("%s: cut off %d bytes that were not written to their end", segment.path, torn)
                segment.truncate(scanned.end)
            else:
                gaps.append((scanned.end, segment.size_bytes))
        for start, end in gaps:
            self.damage.append(
                JournalDamaged(f"{segment.path} can't be read from byte {start} to {end}; the rest was kept.")
            )
        for record in scanned.records:
            yield Place(segment.number, record.offset, record.size_bytes), record.payload

    def _opened(self, number: int) -> Segment:
        if self._reader is None or self._reader.number != number:
            self._close_reader()
            self._reader = Segment(self._path(number))
        return self._reader

    def _close_newest(self) -> None:
        for segment in (*self._unsealed, self._newest):
            segment.close()

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:010d}.journal"

    def _lock(self) -> None:
        try:
            fcntl.flock(self._folder_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateUnusable(
                f"Another agent uses the journal in {self._folder}; stop it, or give this one another agent.state_dir."
            ) from None
