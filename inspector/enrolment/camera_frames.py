"""Good images from a running camera: copies of its frames, kept in a folder, so that an enrolment can be repeated.

The agents that read the camera are not disturbed; each connector sees to that in its own way. A frame counts if it can
be read and has not come before: a camera that sends one picture over and over gives no variety.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from inspector.agent.build import tap_of
from inspector.agent.camera_limits import limits_of
from inspector.config.config import Config
from inspector.errors import EnrolmentError, UndecodableFrame
from inspector.files import make_folder, write_whole
from inspector.operation.cameras import camera_named
from inspector.store.pictures.overlay import suffix_of
from inspector.stream.decode import DecodeLimits, decode

IDLE_S = 60.0


@dataclass(frozen=True, slots=True)
class FrameRequest:
    """`count` different frames of a camera, saved in a folder; an error if none comes for `idle_s` seconds."""

    camera: str
    count: int
    folder: Path
    idle_s: float = IDLE_S


async def collect_frames(
    config: Config, request: FrameRequest, progress: Callable[[str, int, int], None]
) -> list[Path]:
    """The files, in the order in which the frames came. Files saved before a failure stay in the folder.

    Raises UsageError for a camera that can't be listened to, EnrolmentError where it sends too little, BrokerRefused,
    BrokerUnavailable.
    """
    camera = camera_named(config, request.camera)
    tap = tap_of(config, camera)
    make_folder(request.folder, is_shared=True)
    async with tap:
        intake = _Intake(request, limits_of(camera))
        frames = tap.frames()
        while len(intake.files) < request.count:
            try:
                async with asyncio.timeout(intake.left_s()):
                    payload = await anext(frames)
            except TimeoutError:
                raise EnrolmentError(intake.complaint(tap.name)) from None
            if await asyncio.to_thread(intake.take, payload):
                progress(f"frames of {camera.name}", len(intake.files), request.count)
    return intake.files


def folder_for(state_folder: Path, camera: str) -> Path:
    """The name of a new folder for frames taken now."""
    return state_folder / f"{camera}-{datetime.now(UTC).strftime('%Y%m%dT%H%M%SZ')}"


class _Intake:
    """Saves each readable frame as a file, unless the same bytes came before."""

    def __init__(self, request: FrameRequest, limits: DecodeLimits) -> None:
        self._request = request
        self._limits = limits
        self._seen: set[str] = set()
        self._repeated = 0
        self._unreadable = 0
        self._now_s = asyncio.get_running_loop().time
        self._since_s = self._now_s()
        self.files: list[Path] = []

    def left_s(self) -> float:
        """Seconds that the next usable frame may still take."""
        return max(0.0, self._since_s + self._request.idle_s - self._now_s())

    def take(self, payload: bytes) -> bool:
        """Whether the frame was saved."""
        digest = hashlib.sha256(payload).hexdigest()
        if digest in self._seen:
            self._repeated += 1
            return False
        try:
            decode(payload, self._limits)
        except UndecodableFrame:
            self._unreadable += 1
            return False
        self._seen.add(digest)
        file = self._request.folder / f"{len(self.files) + 1:05d}.{suffix_of(payload)}"
        write_whole(file, payload)
        self.files.append(file)
        self._since_s = self._now_s()
        return True

    def complaint(self, where: str) -> str:
        request = self._request
        besides = [f"{self._repeated} came again"] if self._repeated else []
        besides += [f"{self._unreadable} could not be read"] if self._unreadable else []
        told = f" ({', '.join(besides)})" if besides else ""
        return (
            f"No new frame came from {request.camera} on {where} for {request.idle_s:g} s: {len(self.files)} of "
            f"{request.count} are in {request.folder}{told}; check that the camera runs, then start again, or "
            "enrol from that folder."
        )
