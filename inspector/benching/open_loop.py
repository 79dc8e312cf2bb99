"""Sends frames by a schedule and notes when each was due, sent and answered.

The next frame is sent at its instant however long the answer to the one before takes (open loop), and a latency counts
from the instant at which the frame was due. A road that stands still for a second thus shows that second in every
frame that was due in it. A sender that waited for answers would hide it (coordinated omission).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from inspector.benching.schedule import Due
from inspector.errors import InspectorError
from inspector.ports import Clock

LATE_CAUSES: Final = frozenset({"late", "overload"})
_NS: Final = 1_000_000_000


@dataclass(slots=True, eq=False)
class Part:
    """One frame that was shown. Instants are monotonic nanoseconds, None while they have not come.

    `heard_ns`: the first message that tells the line, which is the gate's decision if there is a gate, else the
    verdict. `record`: the verdict record. `repeats`: further verdicts on the same part.
    """

    camera: int
    trigger_id: int
    due_ns: int
    sent_ns: int | None = None
    heard_ns: int | None = None
    record: Mapping[str, Any] | None = None
    repeats: int = 0

    @property
    def latency_ms(self) -> float | None:
        """From the instant at which the frame was due to the answer; None if none came."""
        return None if self.heard_ns is None else (self.heard_ns - self.due_ns) / 1e6

    @property
    def is_told(self) -> bool:
        """Whether the line has its answer, be it a verdict that the part came too late."""
        return self.heard_ns is not None or self.is_shed

    @property
    def is_shed(self) -> bool:
        """Whether the agent says itself that it was too late for this part."""
        return self.record is not None and self.record.get("cause") in LATE_CAUSES


@dataclass(slots=True, eq=False)
class Observed:
    """All parts shown so far, and the messages about them. `has_gates`: the line is told by decisions."""

    clock: Clock
    has_gates: bool = False
    parts: dict[tuple[int, int], Part] = field(default_factory=dict)
    pending: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def show(self, camera: int, trigger_id: int, due_ns: int) -> Part:
        part = self.parts[camera, trigger_id] = Part(camera, trigger_id, due_ns)
        self.pending += 1
        return part

    def verdict(self, camera: int, record: Mapping[str, Any]) -> None:
        """Note a verdict record. Records of parts that were not shown, and of missed parts, are left alone."""
        part = self._part(camera, record.get("trigger_id"))
        if part is None or record.get("outcome") == "uninspected":
            return
        if part.record is not None:
            part.repeats += 1
            return
        part.record = record
        if not self.has_gates:
            part.heard_ns = self.clock.monotonic_ns()
        self.pending -= 1
        self.changed.set()

    def decision(self, camera: int, message: Mapping[str, Any]) -> None:
        """Note a gate's decision; the first one of a part counts."""
        part = self._part(camera, message.get("trig"))
        if part is not None and part.heard_ns is None:
            part.heard_ns = self.clock.monotonic_ns()

    def give_up(self) -> None:
        """Wait no longer for parts without a verdict; one that comes after all changes nothing."""
        self.parts = {key: part for key, part in self.parts.items() if part.record is not None}
        self.pending = 0

    def lose(self, part: Part) -> None:
        """The part's frame was not taken by the broker, so that no answer is awaited."""
        if self.parts.pop((part.camera, part.trigger_id), None) is not None and part.record is None:
            self.pending -= 1
            self.changed.set()

    async def until_pending(self, most: int, timeout_s: float) -> bool:
        """Wait until at most `most` parts have no verdict. False if the time is over first."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.pending > most:
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            return False
        return True

    def _part(self, camera: int, trigger_id: object) -> Part | None:
        return self.parts.get((camera, trigger_id)) if isinstance(trigger_id, int) else None


Send = Callable[[Part], Awaitable[None]]
Show = Callable[[int, int], Part]
"""Registers the next part of a camera, due at an instant."""


async def shoot(
    plan: Sequence[Due], show: Show, send: Send, clock: Clock, is_over: Callable[[], bool] = lambda: False
) -> list[Part]:
    """Sends every frame at its instant; returns the parts in the order of the plan when the broker has them all.

    `is_over`: asked before each frame; True ends the sending. Raises the first error of a known kind of `send`.
    """
    began_ns = clock.monotonic_ns()
    parts = []
    with first_error_alone():
        async with asyncio.TaskGroup() as sending:
            for due in plan:
                due_ns = began_ns + round(due.at_s * _NS)
                while (left_ns := due_ns - clock.monotonic_ns()) > 0:
                    await clock.sleep(left_ns / _NS)
                if is_over():
                    break
                part = show(due.camera, due_ns)
                parts.append(part)
                sending.create_task(_sent(part, send, clock))
    return parts


@contextlib.contextmanager
def first_error_alone() -> Iterator[None]:
    """Raises the first error of a known kind out of a group of them, because a command shows one sentence."""
    try:
        yield
    except BaseExceptionGroup as group:
        known = group.subgroup(InspectorError)
        if known is None:
            raise
        raise _first_of(known) from None


async def _sent(part: Part, send: Send, clock: Clock) -> None:
    part.sent_ns = clock.monotonic_ns()
    await send(part)


def _first_of(group: BaseExceptionGroup[Any]) -> BaseException:
    """The first single error in a group of groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
