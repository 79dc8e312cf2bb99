"""A camera made of files: its images, ids and rate. `inspector simulate` runs it.

Arrivals are open-loop: each frame is due at its own time from the start, even if the broker is slow. A frame that a
broken connection lost is sent again under the same frame id and trigger id, so that it stays one frame.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

import orjson

from inspector.domain import printable
from inspector.errors import BrokerUnavailable, InspectorError, UsageError
from inspector.files import MOST_IMAGE_BYTES, read_regular
from inspector.stream.verdict_record import format_time

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif"})
_PNG: Final = b"\x89PNG"
RETURN_TIMEOUT_S: Final = 10.0
"""Seconds that the camera waits for a lost broker before it gives up."""

MOST_OUTSTANDING: Final = 1000
"""Most frames that are due and not yet taken by the broker. A real camera's buffer is finite as well."""


class Wire(Protocol):
    """A connection that frames are published on, such as the publishers of the connectors."""

    async def publish(self, topic: str, payload: bytes, properties: dict[str, str], /) -> None: ...

    async def ensure_connected(self, timeout_s: float, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Shooting:
    """The frames that the camera sends.

    `run`: first part of every frame id. `count` None: each file once, or without end if `is_looping`. `trigger_start`
    None: frames carry no trigger id. `is_live`: frames are not marked as simulated, so they count as real parts and
    reach the gate.
    """

    files: Sequence[Path]
    rate_fps: float
    topic: str
    run: str
    count: int | None = None
    is_looping: bool = False
    is_live: bool = False
    trigger_start: int | None = None
    trigger_modulus: int | None = None
    trigger_in_topic: bool = False
    is_json: bool = False

    @property
    def total(self) -> int | None:
        """The number of frames; None without end."""
        if self.count is not None:
            return self.count
        return None if self.is_looping else len(self.files)


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame as a message."""

    topic: str
    payload: bytes
    properties: dict[str, str]


@dataclass(slots=True)
class Tally:
    """Counts of the frames by what happened to them. `seconds`: from the first frame due to the last frame taken."""

    sent: int = 0
    sent_again: int = 0
    seconds: float = 0.0
    answers_ms: list[float] = field(default_factory=list)

    @property
    def achieved_fps(self) -> float | None:
        """Frames a second; None for a single frame, which has no rate."""
        return None if self.sent < 2 or self.seconds <= 0 else (self.sent - 1) / self.seconds

    def answer_ms(self, share: float) -> float | None:
        """The time within which the broker took this share of the frames; None if it took no frame."""
        ordered = sorted(self.answers_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def image_files(folder: Path) -> list[Path]:
    """JPEG and PNG files in the folder and below, by name, without hidden files. Raises UsageError if there is none.

    Hidden files belong to the operating system (`._0.png`); no camera would send them.
    """
    try:
        kind = folder.stat().st_mode
    except OSError as error:
        raise UsageError(f"{folder} can't be read ({error.strerror}); name a folder of JPEG or PNG files.") from error
    if not stat.S_ISDIR(kind):
        raise UsageError(f"{folder} is a file; name the folder that holds it.")
    named = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
    files = sorted(path for path in named if path.is_file())
    if not files:
        raise UsageError(f"There is no JPEG or PNG file in {folder} or below it.")
    return files


def shots(shooting: Shooting, now: Callable[[], datetime]) -> Iterator[Shot]:
    """The messages in order. Each file is read when its turn comes; raises UsageError if it can't be read."""
    files = itertools.cycle(shooting.files) if shooting.is_looping else iter(shooting.files)
    for number, path in enumerate(itertools.islice(files, shooting.count)):
        try:
            content = read_regular(path, MOST_IMAGE_BYTES, follows_links=True)
        except OSError as error:
            raise UsageError(f"{printable(str(path))} can't be read ({error.strerror}).") from error
        yield _shot(shooting, number, content, now())


async def shoot(
    shooting: Shooting, wire: Wire, stop: asyncio.Event, report: Callable[[int], None] = lambda _sent: None
) -> Tally:
    """Publishes every frame at its time, until the last frame is taken or `stop` is set.

    Raises BrokerUnavailable if the broker stays away, UsageError if a file can't be read.
    """
    tally = Tally()
    room = asyncio.Semaphore(MOST_OUTSTANDING)
    began = time.monotonic()
    try:
        async with asyncio.TaskGroup() as tasks:
            async for shot in _paced(shooting, stop):
                await room.acquire()
                sending = tasks.create_task(_send(wire, shot, tally))
                sending.add_done_callback(lambda _: room.release())
                report(tally.sent)
    except ExceptionGroup as group:
        known = group.subgroup(InspectorError)
        if known is None:
            raise
        raise known.exceptions[0] from None
    tally.seconds = time.monotonic() - began
    report(tally.sent)
    return tally


async def _paced(shooting: Shooting, stop: asyncio.Event) -> AsyncIterator[Shot]:
    began = time.monotonic()
    stream = shots(shooting, lambda: datetime.now(UTC))
    for number in itertools.count() if shooting.total is None else range(shooting.total):
        due_s = began + number / shooting.rate_fps - time.monotonic()
        if due_s > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), due_s)
        if stop.is_set():
            return
        yield next(stream)


async def _send(wire: Wire, shot: Shot, tally: Tally) -> None:
    due = time.monotonic()
    try:
        await wire.publish(shot.topic, shot.payload, shot.properties)
    except BrokerUnavailable:
        await wire.ensure_connected(RETURN_TIMEOUT_S)
        await wire.publish(shot.topic, shot.payload, shot.properties)
        tally.sent_again += 1
    tally.sent += 1
    tally.answers_ms.append((time.monotonic() - due) * 1000)


def _shot(shooting: Shooting, number: int, content: bytes, now: datetime) -> Shot:
    properties = {"frame-id": f"{shooting.run}-{number + 1}"}
    topic = shooting.topic
    if shooting.trigger_start is not None:
        trigger = shooting.trigger_start + number
        if shooting.trigger_modulus is not None:
            trigger %= shooting.trigger_modulus
        if shooting.trigger_in_topic:
            topic = f"{topic}/{trigger}"
        else:
            properties["trigger-id"] = str(trigger)
    properties["captured-at"] = format_time(now)
    properties["content-type"] = "image/png" if content.startswith(_PNG) else "image/jpeg"
    if not shooting.is_live:
        properties["simulated"] = "true"
    if not shooting.is_json:
        return Shot(topic, content, properties)
    table = {name.replace("-", "_"): value for name, value in properties.items()}
    return Shot(topic, orjson.dumps({"image": base64.b64encode(content).decode("ascii"), **table}), {})
