"""Frames of one camera from a watched folder: a file is a frame, acknowledged files move to `done/`.

Files are taken oldest first, once they are whole and have not changed for `settle_ms`. A file that never becomes
whole is delivered incomplete once it has not changed for `incomplete_ms`. Entries that are no frames (links,
folders, hidden and half-written names, sidecars) stay where they are, and an event names each kind once. A file
that is overwritten after it was read is another frame. No file counts as backlog: files from before the start are
judged like later files.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from connectors.folder_files import DONE, FrameFile, Listing, Reading, list_folder, printable, read, set_aside
from inspector.config.line_sections import CameraSection
from inspector.domain import Delivery, Event, Position, Severity
from inspector.errors import ConfigError
from inspector.ports import Clock, MakeReady, Telemetry
from inspector.stream.frame_room import FrameRoom

IN_FLIGHT: Final = 64
"""Most files that are delivered and not acknowledged."""

POLL_S: Final = 0.1
RETRY_S: Final = 5.0
"""Seconds between two tries of a file that can't be read: its permissions can change while its content doesn't."""

MOST_NAMED: Final = 1000
"""Most kinds of entries that are no frames and get an event; further kinds get none."""

LONGEST_NAME: Final = 100
"""Characters of a file's name in its frame id, which has room for 128."""

_MIB: Final = 1024 * 1024


class FolderSource:
    """A FrameSource over one folder. Entering raises ConfigError if there is no such folder.

    A frame's `frame-id` is the file's name and time of modification. After a restart the same file is therefore the
    same frame, and a new file under an old name is a new frame. With `trigger_from = "topic"` the name without its
    ending is the trigger id. `room`: that of the agent, in which each file waits for its place; unset = one of its own.
    """

    def __init__(
        self,
        camera: CameraSection,
        clock: Clock,
        telemetry: Telemetry,
        poll_s: float = POLL_S,
        room: FrameRoom | None = None,
    ) -> None:
        self._room = room or FrameRoom(IN_FLIGHT * int(camera.max_mib * _MIB))
        self._room.listeners.append(self._note_room)
        self._is_short = False
        self._camera = camera
        self._clock = clock
        self._telemetry = telemetry
        self._poll_s = poll_s
        self._folder = camera.folder or Path()
        self._most_bytes = int(camera.max_mib * _MIB) + 1  # one beyond the limit, so that the road sees it
        self._handed_out: deque[tuple[int, FrameFile]] = deque()
        self._taken: set[FrameFile] = set()
        self._unchanged_since_ns: dict[FrameFile, int] = {}
        self._not_before_ns: dict[FrameFile, int] = {}
        self._appeared_after_ns: dict[FrameFile, int | None] = {}
        self._listed_ns: int | None = None
        self._unreadable: dict[FrameFile, int] = {}
        self._named: set[str] = set()
        self._offset = 0
        self._is_paused = False
        self._is_stopped = False
        self._changed = asyncio.Event()
        self._is_stuck_told = False
        self._is_away = False

    @property
    def name(self) -> str:
        return f"folder:{self._camera.name}"

    @property
    def is_connected(self) -> bool:
        return self._folder.is_dir() and not self._is_away

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
            for file in await self._due():
                while not self._is_stopped and not self._may_take(file):
                    await self._wait_for_change()
                if self._is_stopped:
                    return
                delivery = await self._take(file)
                if delivery is not None:
                    yield delivery
            await self._wait_for_change(self._poll_s)

    def age_bound_ns(self, _camera: str, /) -> int | None:
        """The time since the last listing began: a file that is new now may have appeared right after that."""
        return None if self._listed_ns is None else self._clock.monotonic_ns() - self._listed_ns

    async def acknowledge(self, position: Position) -> bool:
        """Move all files that were handed out up to `position` to `done/`. False for a position of another source."""
        if position.stream != self.name:
            return False
        finished: list[FrameFile] = []
        while self._handed_out and self._handed_out[0][0] <= position.offset:
            finished.append(self._handed_out.popleft()[1])
        for file in finished:
            await self._set_aside(file)
        self._changed.set()
        return True

    def confirmation(self, _position: Position, /) -> None:
        """None: a file that was moved does not come again."""

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

    async def _due(self) -> list[FrameFile]:
        """Files that are not taken yet and have not changed for long enough, oldest first."""
        began_ns = self._clock.monotonic_ns()
        listing = await asyncio.to_thread(list_folder, self._folder)
        self._note_folder(listing)
        now_ns = self._clock.monotonic_ns()
        there = listing.frames
        self._taken &= there  # a file that has left the folder need not be remembered
        self._unchanged_since_ns = {file: self._unchanged_since_ns.get(file, now_ns) for file in there}
        self._not_before_ns = {file: at_ns for file, at_ns in self._not_before_ns.items() if file in there}
        # A file that an earlier listing lacks was written after that listing began. Before the first listing no
        # such bound is known.
        self._appeared_after_ns = {file: self._appeared_after_ns.get(file, self._listed_ns) for file in there}
        self._listed_ns = began_ns
        self._unreadable = {file: changed for file, changed in self._unreadable.items() if file in there}
        settle_ns = int(self._camera.settle_ms * 1e6)
        due = [file for file in there - self._taken if self._is_due(file, now_ns, settle_ns)]
        return sorted(due, key=lambda file: (file.modified_ns, file.path.name))

    def _is_due(self, file: FrameFile, now_ns: int, settle_ns: int) -> bool:
        if self._unreadable.get(file, file.changed_ns) != file.changed_ns:
            return True  # its rights have changed
        return now_ns - self._unchanged_since_ns[file] >= settle_ns and now_ns >= self._not_before_ns.get(file, now_ns)

    async def _take(self, file: FrameFile) -> Delivery | None:
        """The file as a delivery; None if it is not whole yet, can't be read, or is another file by now."""
        try:
            reading = await asyncio.to_thread(read, file, self._most_bytes)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._note_unreadable(file, error)
            return None
        if reading is None or not self._is_fit(file, reading):
            return None
        self._offset += 1
        self._handed_out.append((self._offset, file))
        self._taken.add(file)
        self._room.hold(Position(self.name, 1, self._offset), self._camera.name, len(reading.content))
        return Delivery(
            position=Position(self.name, 1, self._offset),
            camera=self._camera.name,
            payload=reading.content,
            properties=self._properties(file),
            received_at=self._clock.now(),
            received_ns=self._clock.monotonic_ns(),
            not_before_ns=self._appeared_after_ns.get(file),
        )

    def _may_take(self, file: FrameFile) -> bool:
        size_bytes = min(file.size_bytes, self._most_bytes)
        self._is_short = not self._room.has_room(self._camera.name, size_bytes)
        return not self._is_short and len(self._handed_out) < IN_FLIGHT and not self._is_paused

    def _note_room(self) -> None:
        if self._is_short:
            self._changed.set()

    def _is_fit(self, file: FrameFile, reading: Reading) -> bool:
        """Whether the file is whole, is larger than the limit, or has been left incomplete by its writer."""
        if reading.is_whole or len(reading.content) == self._most_bytes:
            return True
        given_up_ns = self._unchanged_since_ns[file] + int(self._camera.incomplete_ms * 1e6)
        if self._clock.monotonic_ns() >= given_up_ns:
            return True
        self._not_before_ns[file] = given_up_ns
        return False

    def _properties(self, file: FrameFile) -> dict[str, str]:
        properties = {"frame-id": _frame_id(file)}
        try:
            modified = datetime.fromtimestamp(file.modified_ns / 1e9, UTC)
        except (OverflowError, ValueError, OSError):  # a time outside the calendar
            pass
        else:
            properties["captured-at"] = modified.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if self._camera.trigger_from == "topic":
            properties["trigger-id"] = printable(file.path.stem)
        return properties

    async def _set_aside(self, file: FrameFile) -> None:
        try:
            is_same = await asyncio.to_thread(set_aside, file)
        except FileNotFoundError:
            return
        except OSError as error:
            if not self._is_stuck_told:
                self._is_stuck_told = True
                where = f"{self._folder / DONE} ({error.strerror})"
                self._tell("folder_not_writable", f"files can't be moved to {where} and come again at a restart")
            return
        if not is_same:
            self._tell(
                "folder_overwritten",
                f"{file.shown_name} was overwritten after it was read; what stands there now is judged as another "
                "frame. Give each picture a name of its own.",
            )

    def _note_folder(self, listing: Listing) -> None:
        """Send one event for each kind of ignored entry, and one when the folder goes away or comes back."""
        if (listing.reason is not None) != self._is_away:
            self._is_away = listing.reason is not None
            if self._is_away:
                self._tell("folder_away", f"{self._folder} can't be read ({listing.reason}); no frame comes from it")
            else:
                self._tell("folder_back", f"{self._folder} can be read again", Severity.INFO)
        for entry in listing.ignored:
            if entry.kind in self._named or len(self._named) >= MOST_NAMED:
                continue
            self._named.add(entry.kind)
            if entry.is_link:
                self._tell(
                    "folder_ignored", f"{entry.kind} is not followed; put the picture itself into {self._folder}"
                )
            elif entry.is_folder:
                detail = f"folders in {self._folder} are not read, the first is {entry.name}"
                self._tell("folder_ignored", f"{detail}; put pictures into the watched folder itself")
            else:
                detail = f"{entry.kind} are no frames and stay where they are; the first is {entry.name}"
                self._tell("folder_ignored", detail, Severity.INFO)

    def _note_unreadable(self, file: FrameFile, error: OSError) -> None:
        """Send one event for the file, and another only after the file has changed. Retries between are silent."""
        self._not_before_ns[file] = self._clock.monotonic_ns() + int(RETRY_S * 1e9)
        if self._unreadable.get(file) == file.changed_ns:
            return
        self._unreadable[file] = file.changed_ns
        self._tell(
            "file_unreadable",
            f"{file.shown_name} can't be read ({error.strerror}) and is not judged; give the agent's user the right "
            f"to read it, and whoever writes into {self._folder} a umask that leaves it",
        )

    def _tell(self, kind: str, detail: str, severity: Severity = Severity.WARNING) -> None:
        self._telemetry.event(Event(self._clock.now(), kind, severity, self._camera.name, detail))


def _frame_id(file: FrameFile) -> str:
    """Name and time of modification. A long name is shortened to its beginning and a digest of the whole name."""
    name = file.shown_name
    if len(name) > LONGEST_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        name = f"{name[: LONGEST_NAME - len(digest) - 1]}~{digest}"
    return f"{name}@{file.modified_ns // 1_000_000}"
