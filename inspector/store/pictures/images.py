"""Keeps pictures by the retention rule: every reject, every unjudged frame, near misses, a sample of the passes,
and each frame that the shadow version judges otherwise.

`<folder>/<yyyy-mm-dd>/<camera>/<result id>.jpg` or `.png` holds the unchanged bytes, `.heat.jpg` the frame
with the heat map drawn over it, `<folder>/latest/<camera>.jpg` a small copy of the camera's newest frame with
the result id as its note, its heat map drawn over it if it has one. It is renewed twice a second while a console
says that somebody looks (`kept.KeptPictures.note_watched`), and else every half minute. One thread draws and writes.
The road only puts pictures into a bounded queue; when the queue is full, passes are skipped first.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import os
import sys
import threading
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from inspector.domain import Outcome, Picture, ResultId
from inspector.errors import StateUnusable
from inspector.ports import Clock
from inspector.store.pictures.folders import BoundedFolder, Held, safe_name, write_whole
from inspector.store.pictures.kept import WATCHED, WATCHED_FOR_S
from inspector.store.pictures.overlay import SMALL_SIDE_PX, Undrawable, overlay_jpeg, small_jpeg, suffix_of

_LOG = logging.getLogger(__name__)
NEAR_MISS_LEVEL: Final = 0.9
"""A pass from this level on is kept: people who move a threshold have to see what lies just below it."""

WATCHED_PERIOD_NS: Final = 500_000_000
UNWATCHED_PERIOD_NS: Final = 30_000_000_000
"""Drawing costs a core some milliseconds, and nobody looks; but whoever comes should see a picture at once."""

LOOK_S: Final = 1.0
"""Time between two looks whether somebody watches."""

_QUEUED_PICTURES: Final = 64
_QUEUED_BYTES: Final = 64 * 1024 * 1024
_NICENESS: Final = 10


class FolderImages:
    """The port `Images` on a folder of at most `max_bytes`, not counting the latest pictures.

    `keep_passes` is the share of passes kept, [0, 1]. The result id decides, so every agent keeps the same passes.
    Entering raises StateUnusable if the folder can't be written.
    """

    def __init__(
        self, folder: Path, *, max_bytes: int, keep_passes: float, clock: Clock, held: Held | None = None
    ) -> None:
        self._path = folder
        self._held = held or Held()
        self._max_bytes = max_bytes
        self._keep_passes = keep_passes
        self._clock = clock
        self._queue = _PictureQueue()
        self._latest_ns: dict[str, int] = {}
        self._is_watched = False
        self._writer: threading.Thread | None = None
        self._is_failing = False

    async def __aenter__(self) -> Self:
        folder = await asyncio.to_thread(
            BoundedFolder, self._path, self._max_bytes, self._path / "latest", held=self._held
        )
        self._look_for_watchers()
        self._writer = threading.Thread(target=self._write_all, args=(folder,), name="images", daemon=True)
        self._writer.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Write the queued pictures, then end."""
        self._queue.close()
        if self._writer is not None:
            await asyncio.to_thread(self._writer.join)

    @property
    def skipped(self) -> int:
        """Number of pictures that the rule keeps but that were skipped, because the disk was too slow."""
        return self._queue.skipped

    def keep(self, picture: Picture) -> None:
        """Queue the picture if the rule keeps it. Never blocks, never raises."""
        verdict = picture.verdict
        if suffix_of(picture.payload) is None:
            return
        now_ns = self._clock.monotonic_ns()
        # A flip is known some time after its frame, which is no longer the newest one.
        period_ns = WATCHED_PERIOD_NS if self._is_watched else UNWATCHED_PERIOD_NS
        is_due = now_ns - self._latest_ns.get(verdict.camera, -period_ns) >= period_ns
        is_latest = is_due and not picture.is_flip
        is_near = verdict.level is not None and verdict.level >= NEAR_MISS_LEVEL
        is_kept = (
            picture.is_flip
            or verdict.outcome is not Outcome.PASS
            or is_near
            or is_sampled(verdict.result_id, self._keep_passes)
        )
        if is_latest:
            self._latest_ns[verdict.camera] = now_ns
        if is_latest or is_kept:
            self._queue.put(_Wanted(picture, is_kept=is_kept, is_latest=is_latest))

    def _write_all(self, folder: BoundedFolder) -> None:
        give_way()
        while not self._queue.is_over:
            self._look_for_watchers()
            wanted = self._queue.take(LOOK_S)
            if wanted is None:
                continue
            try:
                if wanted.is_kept:
                    self._write(folder, wanted.picture)
                if wanted.is_latest:
                    self._write_latest(wanted.picture)
            except StateUnusable as error:
                if not self._is_failing:
                    _LOG.error("pictures can't be kept: %s", error)
                self._is_failing = True
            else:
                if self._is_failing:
                    _LOG.info("pictures are kept again")
                self._is_failing = False

    def _look_for_watchers(self) -> None:
        try:
            marked_s = os.lstat(self._path / "latest" / WATCHED).st_mtime
        except OSError:  # nobody has ever looked
            self._is_watched = False
        else:
            self._is_watched = abs(time.time() - marked_s) < WATCHED_FOR_S

    def _write(self, folder: BoundedFolder, picture: Picture) -> None:
        verdict = picture.verdict
        self._held.note(verdict)
        base = self._path / f"{verdict.decided_at:%Y-%m-%d}" / safe_name(verdict.camera)
        name = safe_name(verdict.result_id)
        folder.add(base / f"{name}.{suffix_of(picture.payload)}", picture.payload)
        if picture.heat_map is not None:
            try:
                folder.add(base / f"{name}.heat.jpg", overlay_jpeg(picture.payload, picture.heat_map))
            except Undrawable as error:
                _LOG.warning("no heat map for %s: %s", verdict.result_id, error)

    def _write_latest(self, picture: Picture) -> None:
        camera = picture.verdict.camera
        try:
            write_whole(self._path / "latest" / f"{safe_name(camera)}.jpg", _latest(picture))
        except Undrawable as error:
            _LOG.warning("no latest picture of %s: %s", camera, error)


def _latest(picture: Picture) -> bytes:
    """The small copy. It says whose picture it is, so that a reader can't take it for another part's."""
    if picture.heat_map is None:
        return small_jpeg(picture.payload, note=picture.verdict.result_id)
    return overlay_jpeg(picture.payload, picture.heat_map, SMALL_SIDE_PX, note=picture.verdict.result_id)


def give_way() -> None:
    """Lower the priority of the calling thread, so that frames are judged first. Does nothing where that is refused."""
    if sys.platform != "linux":  # elsewhere it would be the priority of the whole process
        return
    thread = threading.get_native_id()
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, thread, max(_NICENESS, os.getpriority(os.PRIO_PROCESS, thread)))


def is_sampled(result_id: ResultId, share: float) -> bool:
    """Whether the pass with this id is in the sample. The answer is the same on every agent and in every run."""
    return zlib.crc32(result_id.encode("utf-8", "surrogatepass")) < share * 2**32


@dataclass(frozen=True, slots=True, eq=False)  # compared by identity: a comparison of arrays has no single truth value
class _Wanted:
    picture: Picture
    is_kept: bool
    is_latest: bool

    @property
    def may_be_skipped(self) -> bool:
        if self.picture.is_flip:
            return False
        return not self.is_kept or self.picture.verdict.outcome is Outcome.PASS


class _PictureQueue:
    """Queue bounded by pictures and bytes; passes are skipped first. The loop calls `put`, the writer calls `take`."""

    def __init__(self) -> None:
        self.skipped = 0
        self._wanted: collections.deque[_Wanted] = collections.deque()
        self._size_bytes = 0
        self._is_closed = False
        self._changed = threading.Condition()

    def put(self, wanted: _Wanted) -> None:
        """Add the picture; when the queue is full, skip it or an older pass."""
        with self._changed:
            self._wanted.append(wanted)
            self._size_bytes += len(wanted.picture.payload)
            while len(self._wanted) > _QUEUED_PICTURES or self._size_bytes > _QUEUED_BYTES:
                self._skip(next((waiting for waiting in self._wanted if waiting.may_be_skipped), wanted))
            self._changed.notify()

    @property
    def is_over(self) -> bool:
        """Closed and empty."""
        with self._changed:
            return self._is_closed and not self._wanted

    def take(self, limit_s: float) -> _Wanted | None:
        """Wait for the oldest picture and return it; None if none came within `limit_s` or the queue is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._wanted or self._is_closed, limit_s)
            if not self._wanted:
                return None
            taken = self._wanted.popleft()
            self._size_bytes -= len(taken.picture.payload)
            return taken

    def close(self) -> None:
        """Take no more pictures."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def _skip(self, wanted: _Wanted) -> None:
        self._wanted.remove(wanted)
        self._size_bytes -= len(wanted.picture.payload)
        self.skipped += wanted.is_kept
