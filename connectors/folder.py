"""Frames of one camera from a watched folder: a file is a frame, acknowledged files move to `done/`.

Files are taken oldest first, once they have stopped growing; names that begin with a dot or end in
`.part` or `.tmp` are still being written and are left alone. A file that can't be moved is remembered
for this run, with one event. Nothing in a folder is backlog: whoever fills it before the start wants it
judged.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from inspector.config.sections import CameraSection
from inspector.domain import Delivery, Event, Position, Severity
from inspector.errors import ConfigError
from inspector.ports import Clock, MakeReady, Telemetry

DONE: Final = "done"
IN_FLIGHT: Final = 64
"""Most files handed out and not acknowledged."""

POLL_S: Final = 0.1
_UNFINISHED: Final = (".part", ".tmp")
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _File:
    """One finished file as the folder lists it; equal as long as nobody writes to it again."""

    path: Path
    modified_ns: int
    size_bytes: int


class FolderSource:
    """A FrameSource over one folder. Entering raises ConfigError where there is no such folder.

    A frame's `frame-id` is the file's name and time of modification, so that a restart finds the same
    frame and a name used again is another one. With `trigger_from = "topic"` the name without its
    ending is the trigger id.
    """

    def __init__(self, camera: CameraSection, clock: Clock, telemetry: Telemetry, poll_s: float = POLL_S) -> None:
        self._camera = camera
        self._clock = clock
        self._telemetry = telemetry
        self._poll_s = poll_s
        self._folder = camera.folder or Path()
        self._most_bytes = int(camera.max_mib * _MIB) + 1  # one beyond the limit, so that the road sees it
        self._handed_out: deque[tuple[int, _File]] = deque()
        self._taken: set[_File] = set()
        self._seen_last: set[_File] = set()
        self._offset = 0
        self._is_paused = False
        self._is_stopped = False
        self._changed = asyncio.Event()
        self._is_stuck_told = False

    @property
    def name(self) -> str:
        return f"folder:{self._camera.name}"

    @property
    def is_connected(self) -> bool:
        return self._folder.is_dir()

    async def __aenter__(self) -> Self:
        if self._camera.folder is None or not self._folder.is_dir():
            raise ConfigError([f"camera {self._camera.name!r}: there is no folder {self._folder}"])
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop_intake()

    def serves(self, _camera: str, /) -> bool:
        return True

    async def deliveries(self, _make_ready: MakeReady | None = None, /) -> AsyncIterator[Delivery]:
        """Every file, oldest first, until `stop_intake`; none while paused. One consumer only."""
        while not self._is_stopped:
            for file in await self._finished():
                while not self._is_stopped and (self._is_paused or len(self._handed_out) >= IN_FLIGHT):
                    await self._wait_for_change()
                if self._is_stopped:
                    return
                delivery = await self._take(file)
                if delivery is not None:
                    yield delivery
            await self._wait_for_change(self._poll_s)

    async def acknowledge(self, position: Position) -> bool:
        """All files handed out up to it move to `done/`. False for a position that is not of this folder."""
        if position.stream != self.name:
            return False
        finished: list[_File] = []
        while self._handed_out and self._handed_out[0][0] <= position.offset:
            finished.append(self._handed_out.popleft()[1])
        for file in finished:
            await self._set_aside(file)
        self._changed.set()
        return True

    def pause(self) -> None:
        self._is_paused = True

    def resume(self) -> None:
        self._is_paused = False
        self._changed.set()

    async def stop_intake(self) -> None:
        self._is_stopped = True
        self._changed.set()

    async def _wait_for_change(self, timeout_s: float | None = None) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _finished(self) -> list[_File]:
        """Files nobody has taken and that have not changed since the last look, oldest first."""
        listed = await asyncio.to_thread(_list_files, self._folder)
        self._taken &= listed  # a file gone from the folder need not be remembered
        finished = (listed & self._seen_last) - self._taken
        self._seen_last = listed
        return sorted(finished, key=lambda file: (file.modified_ns, file.path.name))

    async def _take(self, file: _File) -> Delivery | None:
        """The file as a delivery; None where it was taken away meanwhile."""
        try:
            payload = await asyncio.to_thread(_read, file.path, self._most_bytes)
        except OSError:
            return None
        self._offset += 1
        self._handed_out.append((self._offset, file))
        self._taken.add(file)
        return Delivery(
            position=Position(self.name, 1, self._offset),
            camera=self._camera.name,
            payload=payload,
            properties=self._properties(file),
            received_at=self._clock.now(),
            received_ns=self._clock.monotonic_ns(),
        )

    def _properties(self, file: _File) -> dict[str, str]:
        modified = datetime.fromtimestamp(file.modified_ns / 1e9, UTC)
        name = os.fsencode(file.path.name).decode("utf-8", "backslashreplace")  # two names never become one
        properties = {
            "frame-id": f"{name}@{file.modified_ns // 1_000_000}",
            "captured-at": modified.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        if self._camera.trigger_from == "topic":
            properties["trigger-id"] = file.path.stem
        return properties

    async def _set_aside(self, file: _File) -> None:
        try:
            await asyncio.to_thread(_move, file, self._folder / DONE)
        except FileNotFoundError:
            return
        except OSError as error:
            if not self._is_stuck_told:
                self._is_stuck_told = True
                detail = f"files can't be moved to {self._folder / DONE} ({error.strerror}) and come again at a restart"
                self._telemetry.event(
                    Event(self._clock.now(), "folder_not_writable", Severity.WARNING, self._camera.name, detail)
                )


def _list_files(folder: Path) -> set[_File]:
    """Regular files that have a finished name; nothing where the folder is away for the moment."""
    files: set[_File] = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.endswith(_UNFINISHED):
                    continue
                try:
                    status = entry.stat()
                except OSError:
                    continue
                if stat.S_ISREG(status.st_mode):
                    files.add(_File(Path(entry.path), status.st_mtime_ns, status.st_size))
    except OSError:
        return files
    return files


def _read(path: Path, most_bytes: int) -> bytes:
    with path.open("rb") as file:
        return file.read(most_bytes)


def _move(file: _File, done: Path) -> None:
    """Into `done`, under its own name or, where that is taken, one with its time."""
    done.mkdir(exist_ok=True)
    target = done / file.path.name
    if target.exists():
        target = done / f"{file.path.stem}.{file.modified_ns}{file.path.suffix}"
    file.path.rename(target)
