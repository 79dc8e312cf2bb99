"""Keeps late frames until the line has time to judge them, and what they showed until the ledger has it.

A frame that waits is `<folder>/<result id>.jpg` or `.png`: its bytes, and behind them everything else (see
`recorded_picture`). Earlier software wrote everything else into a `.json` beside it, which is still read. A finding is
a `.json` alone. Files are whole and survive kill -9 when a method returns. At the bound the oldest frames are given up,
each with a finding that says so. One thread reads and writes, so the road never waits for the disk; frames that come
while it writes are its next group.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import orjson

from inspector.domain import LateFrame, LateOutcome, ResultId, Verdict
from inspector.errors import StateUnusable
from inspector.files import entries, make_folder, remove
from inspector.ports import Clock
from inspector.store.pictures.folders import Held, read_kept, remove_partial, safe_name, translated, write_whole
from inspector.store.pictures.overlay import suffix_of
from inspector.store.pictures.recorded_picture import (
    RecordedPicture,
    note_tries,
    read_recorded,
    size_of_picture,
    write_recorded,
)
from inspector.stream.late_record import (
    finding_from_record,
    finding_record,
    given_up,
    late_frame_from_record,
    late_record,
)

_LOG = logging.getLogger(__name__)
_QUEUED_BYTES: Final = 64 * 1024 * 1024
"""Most bytes of frames that wait for the disk. A frame beyond that is given up."""

DROPPED: Final = "its picture was dropped to keep within images.late_mib"
GONE: Final = "its picture is gone from this machine"
TOO_SLOW: Final = "the disk was too slow to keep its picture"

T = TypeVar("T")


class FolderLateFrames:
    """The port `LateFrames` on a folder of at most `max_bytes`, not counting findings. Held frames may exceed it.

    Entering raises StateUnusable if the folder can't be read and written.
    """

    def __init__(self, folder: Path, *, max_bytes: int, clock: Clock, held: Held | None = None) -> None:
        self._path = folder
        self._held = held or Held()
        self._max_bytes = max_bytes
        self._clock = clock
        self._sizes: dict[ResultId, int] = {}  # frames that wait, oldest first
        self._found: dict[ResultId, Verdict | None] = {}  # None: the finding is on disk
        self._paired: set[ResultId] = set()  # frames of earlier software, in two files each
        self._taken: LateFrame | None = None
        self._queued: list[tuple[LateFrame, asyncio.Future[None]]] = []
        self._keeping: asyncio.Task[None] | None = None
        self._queued_bytes = 0
        self._is_failing = False
        self._size_bytes = 0
        self._last_ns = 0
        self._resources = contextlib.ExitStack()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._open)
        self._worker = self._resources.enter_context(concurrent.futures.ThreadPoolExecutor(1, "late-frames"))
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._keeping is not None:
            await self._keeping
        await self._on_disk(self._return_taken)
        await asyncio.to_thread(self._resources.close)

    @property
    def waiting(self) -> int:
        return len(self._sizes)

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def has(self, result_id: ResultId) -> bool:
        return result_id in self._sizes or result_id in self._found

    async def keep(self, frame: LateFrame) -> None:
        size_bytes = len(frame.admitted.delivery.payload)
        if self._queued_bytes + size_bytes > _QUEUED_BYTES:
            self._found[frame.verdict.result_id] = given_up(frame.verdict, TOO_SLOW, self._clock.now())
            return
        self._queued_bytes += size_bytes
        is_kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queued.append((frame, is_kept))
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep_queued(), name="late frames")
        await is_kept

    async def take(self) -> LateFrame | None:
        return await self._on_disk(self._take)

    async def put_finding(self, finding: Verdict) -> None:
        await self._on_disk(self._put_finding, finding)

    def finding_ids(self) -> list[ResultId]:
        return list(self._found)

    async def findings(self, result_ids: Sequence[ResultId]) -> list[Verdict]:
        return await self._on_disk(self._findings, result_ids)

    async def forget(self, result_ids: Sequence[ResultId]) -> None:
        await self._on_disk(self._forget, result_ids)

    async def _keep_queued(self) -> None:
        """Keep the frames that wait for the disk, group by group. A group costs the event loop as much as one frame."""
        try:
            while self._queued:
                group, self._queued = self._queued, []
                # After a fault of ours, whoever waits has to know of it, else it waits for ever.
                frames = [frame for frame, _ in group]
                (error,) = await asyncio.gather(self._on_disk(self._keep_group, frames), return_exceptions=True)
                for frame, is_kept in group:
                    self._queued_bytes -= len(frame.admitted.delivery.payload)
                    if is_kept.done():
                        continue
                    if error is None:
                        is_kept.set_result(None)
                    else:
                        is_kept.set_exception(error)
        finally:
            self._keeping = None

    # --- on the worker thread ---

    async def _on_disk(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *arguments)

    def _open(self) -> None:
        with translated(self._path):
            make_folder(self._path)
            remove_partial(self._path)
            files = sorted((status.st_mtime_ns, path.name, path) for path, status in entries(self._path))
            self._found = {ResultId(path.stem): None for _, _, path in files if path.suffix == ".json"}
            for stamp_ns, _, path in files:
                self._last_ns = max(self._last_ns, stamp_ns)
                if path.suffix != ".json":
                    self._find_picture(ResultId(path.stem), path)

    def _find_picture(self, result_id: ResultId, path: Path) -> None:
        """Take a picture of an earlier process into account."""
        file_bytes, has_record = path.lstat().st_size, result_id in self._found
        try:
            size_bytes = size_of_picture(path, file_bytes)
        except ValueError:
            if has_record:
                del self._found[result_id]
                self._paired.add(result_id)
                self._count(result_id, file_bytes)
            else:  # it was not kept to the end, so its broker still has it
                remove(path)
            return
        if has_record:  # its finding was written, and it was not removed
            remove(path)
        else:
            self._count(result_id, size_bytes)

    def _keep_group(self, frames: Sequence[LateFrame]) -> None:
        for frame in frames:
            self._keep(frame)

    def _keep(self, frame: LateFrame) -> None:
        verdict, payload = frame.verdict, frame.admitted.delivery.payload
        result_id = verdict.result_id
        self._held.note(verdict)
        if len(payload) > self._max_bytes and result_id not in self._held:
            self._put_finding(given_up(verdict, DROPPED, self._clock.now()))
            return
        try:
            picture = RecordedPicture(payload, orjson.dumps(late_record(frame)), frame.tries)
            write_recorded(self._picture_of(result_id, payload), picture, self._next_stamp_ns())
        except StateUnusable as error:
            self._put_finding(given_up(verdict, f"its picture could not be kept: {error}", self._clock.now()))
            return
        if result_id in self._found or result_id in self._paired:  # the frame has come again
            self._remove_record(result_id)
        self._uncount(result_id)
        self._count(result_id, len(payload))
        self._keep_the_bound()

    def _keep_the_bound(self) -> None:
        """Give up the oldest frames beyond the bound, but none that is held or being judged."""
        while self._size_bytes > self._max_bytes:
            taken = None if self._taken is None else self._taken.verdict.result_id
            oldest = next((each for each in self._sizes if each != taken and each not in self._held), None)
            if oldest is None:
                return
            self._drop(oldest)

    def _drop(self, result_id: ResultId) -> None:
        frame = self._read(result_id)
        if frame is not None:
            self._put_finding(given_up(frame.verdict, DROPPED, self._clock.now()))
            self._remove_pictures(result_id)  # on a full disk too

    def _take(self) -> LateFrame | None:
        for result_id in list(self._sizes):
            frame = self._read(result_id)
            if frame is not None:
                self._taken = frame
                self._note_tries(frame, frame.tries + 1)
                return frame
        return None

    def _return_taken(self) -> None:
        """An orderly end is no try that ended the agent."""
        if self._taken is not None and self._taken.verdict.result_id in self._sizes:
            self._note_tries(self._taken, self._taken.tries)

    def _note_tries(self, frame: LateFrame, tries: int) -> None:
        result_id = frame.verdict.result_id
        with contextlib.suppress(StateUnusable, OSError):  # on a full disk a frame that ends the agent is tried again
            if result_id in self._paired:
                self._write_record(result_id, late_record(frame) | {"tries": tries})
            else:
                note_tries(self._picture_of(result_id, frame.admitted.delivery.payload), tries)

    def _read(self, result_id: ResultId) -> LateFrame | None:
        """The frame that waits under this id; None if it can't be read or its finding was written already."""
        try:
            picture = next(path for path in self._pictures_of(result_id) if path.exists())
            if result_id in self._paired:
                return self._read_paired(result_id, picture)
            found = read_recorded(picture)
            return late_frame_from_record(orjson.loads(found.record) | {"tries": found.tries}, found.payload)
        except (OSError, ValueError, StopIteration) as error:
            _LOG.error("the late frame %s can't be read and stays unjudged: %r", result_id, error)
            self._remove(result_id)
            return None

    def _read_paired(self, result_id: ResultId, picture: Path) -> LateFrame | None:
        record = orjson.loads(read_kept(self._record_of(result_id)))
        if finding_from_record(record).late_outcome is LateOutcome.WAITING:
            return late_frame_from_record(record, read_kept(picture))
        self._uncount(result_id)
        self._found[result_id] = None
        self._remove_pictures(result_id)
        return None

    def _put_finding(self, finding: Verdict) -> None:
        result_id = finding.result_id
        try:
            self._write_record(result_id, finding_record(finding))
        except StateUnusable as error:
            if not self._is_failing:
                _LOG.error("findings of late frames wait in memory: %s", error)
            self._is_failing = True
            self._found[result_id] = finding
        else:
            stamp_ns = self._next_stamp_ns()
            with contextlib.suppress(OSError):
                os.utime(self._record_of(result_id), ns=(stamp_ns, stamp_ns))
            self._is_failing = False
            self._found[result_id] = None
            self._remove_pictures(result_id)
        self._uncount(result_id)
        if self._taken is not None and self._taken.verdict.result_id == result_id:
            self._taken = None

    def _findings(self, result_ids: Sequence[ResultId]) -> list[Verdict]:
        findings: list[Verdict] = []
        for result_id in result_ids:
            if (finding := self._found.get(result_id)) is not None:
                findings.append(finding)
                continue
            try:
                finding = finding_from_record(orjson.loads(read_kept(self._record_of(result_id))))
                is_lost = finding.late_outcome is LateOutcome.WAITING
                findings.append(given_up(finding, GONE, self._clock.now()) if is_lost else finding)
            except (OSError, ValueError) as error:
                _LOG.error("the finding of the late frame %s can't be read and is lost: %r", result_id, error)
                self._remove(result_id)
        return findings

    def _forget(self, result_ids: Sequence[ResultId]) -> None:
        for result_id in result_ids:
            if result_id in self._found:  # otherwise the frame came again and waits
                self._remove(result_id)

    def _remove(self, result_id: ResultId) -> None:
        self._uncount(result_id)
        self._remove_record(result_id)
        self._remove_pictures(result_id)

    def _remove_pictures(self, result_id: ResultId) -> None:
        for path in self._pictures_of(result_id):
            with contextlib.suppress(OSError):
                remove(path)

    def _remove_record(self, result_id: ResultId) -> None:
        self._found.pop(result_id, None)
        with contextlib.suppress(OSError):
            remove(self._record_of(result_id))

    def _next_stamp_ns(self) -> int:
        """The latest time of all files: the next process orders them by their times."""
        self._last_ns = max(time.time_ns(), self._last_ns + 1000)
        return self._last_ns

    def _count(self, result_id: ResultId, size_bytes: int) -> None:
        self._sizes[result_id] = size_bytes
        self._size_bytes += size_bytes

    def _uncount(self, result_id: ResultId) -> None:
        self._paired.discard(result_id)
        self._size_bytes -= self._sizes.pop(result_id, 0)

    def _write_record(self, result_id: ResultId, record: dict[str, Any]) -> None:
        write_whole(self._record_of(result_id), orjson.dumps(record))

    def _record_of(self, result_id: ResultId) -> Path:
        return self._path / f"{safe_name(result_id)}.json"

    def _picture_of(self, result_id: ResultId, payload: bytes) -> Path:
        return self._path / f"{safe_name(result_id)}.{suffix_of(payload) or 'bin'}"

    def _pictures_of(self, result_id: ResultId) -> list[Path]:
        return [self._path / f"{safe_name(result_id)}.{suffix}" for suffix in ("jpg", "png", "bin")]
