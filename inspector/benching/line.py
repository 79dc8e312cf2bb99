"""The running line of a bench: cameras that show frames, the messages that come back, and what the agent uses.

Frames of a camera carry trigger ids from 1 on, in their topic. The products take turns at each camera.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson

from connectors.mqtt.publisher import MqttPublisher
from inspector.benching.children import Usage, last_line, usage_of
from inspector.benching.open_loop import Observed, Part, first_error_alone, shoot
from inspector.benching.pictures import Film
from inspector.benching.schedule import Due
from inspector.errors import BrokerUnavailable, InspectorError

SETTLE_S: Final = 60.0
DECISION_S: Final = 0.2
"""A decision goes another way than its verdict, and may come a little later."""

RAMP_SHARE: Final = 0.2
LONGEST_RAMP_S: Final = 1.0

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Saturated:
    """A window with frames always waiting. `frames` were decided in `seconds`; `usage` None where unknown."""

    frames: int
    seconds: float
    processor_s: float | None
    resident_mib: float | None

    @property
    def fps(self) -> float:
        return self.frames / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Shown:
    """Frames that were shown by a schedule. `seconds`: until the last one was sent."""

    parts: tuple[Part, ...]
    seconds: float
    processor_s: float | None
    resident_mib: float | None


@dataclass(frozen=True, slots=True)
class RunningAgent:
    """An agent of the line, and where it writes its log."""

    process: asyncio.subprocess.Process
    log: Path


class Line:
    """Cameras, listener and agents. Made by `plant.running`."""

    def __init__(
        self,
        prefix: str,
        films: Sequence[Film],
        publishers: Sequence[MqttPublisher],
        observed: Observed,
        agents: Sequence[RunningAgent],
    ) -> None:
        self._prefix = prefix
        self._films = films
        self._publishers = publishers
        self._agents = agents
        self._counts = [0] * len(publishers)
        self._numbers = {f"{kind}{n + 1}": n for n in range(len(publishers)) for kind in ("cam", "gate")}
        self.observed = observed

    @property
    def cameras(self) -> int:
        return len(self._publishers)

    def show(self, camera: int, due_ns: int) -> Part:
        """The next part of this camera."""
        self._counts[camera] += 1
        return self.observed.show(camera, self._counts[camera], due_ns)

    async def send(self, part: Part) -> None:
        """Publish the part's frame. A frame that the broker did not take stays without an answer."""
        number = part.trigger_id - 1
        film = self._films[number % len(self._films)]
        payload = film.shown[number // len(self._films) % len(film.shown)]
        topic = f"{self._prefix}/cam{part.camera + 1}/frame/{part.trigger_id}"
        await self._publishers[part.camera].publish(topic, payload)

    def hear(self, topic: str, payload: bytes) -> None:
        """A verdict or a decision of the agent."""
        *_, name, kind = topic.split("/")
        note = {"verdict": self.observed.verdict, "decision": self.observed.decision}.get(kind)
        camera = self._numbers.get(name)
        if note is not None and camera is not None:
            note(camera, orjson.loads(payload))

    def usage(self) -> Usage | None:
        """Of all agents together; None if one of them can't be read."""
        used = [usage_of(agent.process.pid) for agent in self._agents]
        found = [each for each in used if each is not None]
        if len(found) < len(used):
            return None
        return Usage(sum(each.processor_s for each in found), sum(each.resident_mib for each in found))

    async def warm_up(self, each: int, timeout_s: float) -> None:
        """`each` frames of each camera, a few at a time. Raises InspectorError if they have no verdicts in time."""
        for _ in range(each):
            for camera in range(self.cameras):
                await self.send(self.show(camera, time.monotonic_ns()))
            if not await self._beside_agent(self.observed.until_pending(0, timeout_s)):
                said = "; ".join(last_line(agent.log) for agent in self._agents)
                raise InspectorError(f"The agent gave no verdict within {timeout_s:g} s; its log ends with: {said}")
        self.observed.parts.clear()

    async def saturate(self, window_s: float, waiting: int) -> Saturated:
        """Frames as fast as they are decided, with `waiting` on their way at any time; the beginning does not count."""
        return await self._beside_agent(self._saturate(window_s, waiting))

    async def follow(self, plan: Sequence[Due], is_hopeless: Any = None) -> Shown:
        """Frames by a schedule, until each has its verdict or `SETTLE_S` have passed after the last one."""
        return await self._beside_agent(self._follow(plan, is_hopeless))

    async def _saturate(self, window_s: float, waiting: int) -> Saturated:
        clock = self.observed.clock
        began_ns = clock.monotonic_ns()
        ramp_ns = round(min(LONGEST_RAMP_S, RAMP_SHARE * window_s) * 1e9)
        counted_ns, end_ns = began_ns + ramp_ns, began_ns + round(window_s * 1e9)
        first: Usage | None = None
        parts: list[Part] = []
        with first_error_alone():
            async with asyncio.TaskGroup() as sending:
                number = 0
                while (now_ns := clock.monotonic_ns()) < end_ns:
                    if first is None and now_ns >= counted_ns:
                        first, counted_ns = self.usage(), now_ns
                    if self.observed.pending >= waiting:
                        await self.observed.until_pending(waiting - 1, max(0.001, (end_ns - now_ns) / 1e9))
                        continue
                    part = self.show(number % self.cameras, clock.monotonic_ns())
                    parts.append(part)
                    sending.create_task(self.send(part))
                    number += 1
                    await asyncio.sleep(0)
                last, end_ns = self.usage(), clock.monotonic_ns()
        await self._settle()
        self.observed.parts.clear()
        decided = [part for part in parts if part.heard_ns is not None and counted_ns <= part.heard_ns < end_ns]
        used_s = last.processor_s - first.processor_s if first is not None and last is not None else None
        return Saturated(len(decided), (end_ns - counted_ns) / 1e9, used_s, None if last is None else last.resident_mib)

    async def _follow(self, plan: Sequence[Due], is_hopeless: Any) -> Shown:
        clock = self.observed.clock
        first, began_ns = self.usage(), clock.monotonic_ns()
        parts = await shoot(plan, self.show, self._sent_or_lost, clock, is_hopeless or (lambda: False))
        seconds = (clock.monotonic_ns() - began_ns) / 1e9
        await self._settle()
        last = self.usage()
        used_s = last.processor_s - first.processor_s if first is not None and last is not None else None
        return Shown(tuple(parts), seconds, used_s, None if last is None else last.resident_mib)

    async def _sent_or_lost(self, part: Part) -> None:
        try:
            await self.send(part)
        except BrokerUnavailable:
            self.observed.lose(part)

    async def _settle(self) -> None:
        """Wait for the verdicts that are still to come. What has none after `SETTLE_S` is given up as lost."""
        if not await self.observed.until_pending(0, SETTLE_S):
            self.observed.give_up()
        if self.observed.has_gates:
            await self.observed.clock.sleep(DECISION_S)

    async def _beside_agent(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of `work`. Raises InspectorError as soon as an agent has ended."""
        doing = asyncio.create_task(work)
        ending = {asyncio.create_task(agent.process.wait()): agent for agent in self._agents}
        try:
            ended, _ = await asyncio.wait({doing, *ending}, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                (log, *_) = (agent.log for task, agent in ending.items() if task in ended)
                raise InspectorError(f"The agent ended while it was measured: {last_line(log)}")
            return doing.result()
        finally:
            for task in (doing, *ending):
                task.cancel()
            await asyncio.gather(doing, *ending, return_exceptions=True)
