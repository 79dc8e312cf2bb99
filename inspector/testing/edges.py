"""Fakes of the adapters at the end of the road: gate line, records, pictures, dead letters, telemetry."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Self

from inspector.domain import (
    CommandName,
    CommandRequest,
    DeadLetter,
    Decision,
    Event,
    GateAction,
    GateOwner,
    GateReport,
    GateState,
    Picture,
    Position,
    Verdict,
)
from inspector.ports import Clock, TakesCommand


class _Edge:
    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None


class FakeGateLine(_Edge):
    """Takes decisions unless `is_connected` is False or a decision's time is over, as the real gate line does.

    With `is_answered` False a decision goes out and the broker's answer is lost. While `has_room` is not set, decisions
    wait, and stand in `waiting`. With `is_jammed` no heartbeat is sent.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.is_connected = True
        self.is_answered = True
        self.is_jammed = False
        self.has_room = asyncio.Event()
        self.has_room.set()
        self.waiting: list[Decision] = []
        self.told: list[Decision] = []
        self.beats: list[tuple[str, dict[str, int]]] = []

    async def publish(self, decision: Decision, may_go: Callable[[], bool] = lambda: True) -> bool | None:
        if not self.has_room.is_set():
            self.waiting.append(decision)
            await self.has_room.wait()
        if not may_go() or not self.is_connected or self._clock.monotonic_ns() >= decision.act_before_ns:
            return False
        self.told.append(decision)
        return True if self.is_answered else None

    async def heartbeat(self, gate: str, payload: dict[str, int]) -> bool:
        if not self.is_jammed:
            self.beats.append((gate, payload))
        return self.is_connected and not self.is_jammed


class FakeAckLine(_Edge):
    """Delivers the reports in `reported`, numbered; keeps what was acknowledged. `generation` is the connection."""

    def __init__(self) -> None:
        self.reported: asyncio.Queue[GateAction] = asyncio.Queue()
        self.acknowledged: list[int] = []
        self.generation = 1
        self._offset = 0

    async def reports(self) -> AsyncIterator[GateReport]:
        while True:
            action = await self.reported.get()
            self._offset += 1
            report_id = action.report_id or f"r{self._offset:09d}"
            action = dataclasses.replace(action, report_id=report_id, agent=action.agent or "agent")
            yield GateReport(Position("acks", self.generation, self._offset), action)

    async def acknowledge(self, position: Position) -> bool:
        self.acknowledged.append(position.offset)
        return position.generation == self.generation


class FakeGateOwners(_Edge):
    """Owns every gate that is wanted, unless it is another agent's by `rivals`."""

    def __init__(self, identity: str = "identity", session: str = "session") -> None:
        self.identity = identity
        self.session = session
        self.wanted: dict[str, GateState] = {}
        self.predecessors: dict[str, GateOwner] = {}
        self.rivals: dict[str, GateOwner] = {}
        self.contenders: dict[str, GateOwner] = {}
        self.denied: set[str] = set()
        self.sessions: dict[str, frozenset[str]] = {}
        self.is_refused = False

    def want(self, gates: Mapping[str, GateState]) -> None:
        self.wanted = dict(gates)

    def owns(self, gate: str) -> bool:
        return gate not in self.predecessors and gate not in self.denied and self.is_claimed(gate)

    def is_claimed(self, gate: str) -> bool:
        return gate in self.wanted and gate not in self.rivals and not self.is_refused

    def deny(self, gate: str, is_denied: bool) -> None:
        (self.denied.add if is_denied else self.denied.discard)(gate)

    def rival(self, gate: str) -> GateOwner | None:
        return self.rivals.get(gate)

    def contender(self, gate: str) -> GateOwner | None:
        return self.contenders.get(gate) if self.owns(gate) else None

    def predecessor(self, gate: str) -> GateOwner | None:
        return self.rivals.get(gate) or self.predecessors.get(gate)

    def succeed(self, gate: str) -> None:
        self.predecessors.pop(gate, None)

    def is_settled(self, gate: str) -> bool:
        return not self.is_refused

    def is_unanswered(self, gate: str) -> bool:
        return self.is_refused

    def heard(self, gate: str) -> frozenset[str]:
        return self.sessions.get(gate, frozenset())


class FakeCommandChannel(_Edge):
    """Hands out the commands in `asked`; keeps the replies."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[CommandRequest] = asyncio.Queue()
        self.replies: list[tuple[CommandName, dict[str, Any]]] = []

    def sift(self, takes: TakesCommand) -> None:
        """Nothing: `requests` asks."""

    async def requests(self, takes: TakesCommand) -> AsyncIterator[CommandRequest]:
        while True:
            request = await self.asked.get()
            if takes(request):
                yield request

    async def reply(self, name: CommandName, payload: dict[str, Any]) -> None:
        self.replies.append((name, payload))


class FakeSink(_Edge):
    """Keeps the records and states that were published."""

    def __init__(self) -> None:
        self.verdicts: list[Verdict] = []
        self.states: dict[str, dict[str, Any]] = {}

    async def publish(self, verdict: Verdict) -> None:
        self.verdicts.append(verdict)

    async def state(self, topic: str, payload: dict[str, Any]) -> None:
        self.states[topic] = payload


class FakeImages(_Edge):
    def __init__(self) -> None:
        self.pictures: list[Picture] = []

    def keep(self, picture: Picture) -> None:
        self.pictures.append(picture)


class FakeDeadLetters(_Edge):
    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []

    async def put(self, letter: DeadLetter) -> None:
        self.letters.append(letter)


class FakeTelemetry:
    """Keeps events, counters and gauges. `labelled`: the counters by their name and their labels' values."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.waiting: dict[tuple[str, str], Event] = {}
        self.counters: Counter[str] = Counter()
        self.labelled: Counter[tuple[str, ...]] = Counter()
        self.values: dict[str, float] = {}
        self.reports = 0
        self.lines: list[Verdict] = []
        self._taken = 0

    def event(self, event: Event) -> None:
        self.events.append(event)
        self.waiting.pop((event.kind, event.subject), None)

    def event_waits(self, event: Event) -> None:
        self.waiting[event.kind, event.subject] = event

    def take_events(self) -> list[Event]:
        fresh = self.events[self._taken :]
        self._taken = len(self.events)
        return fresh

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        self.counters[name] += amount
        self.labelled[name, *labels.values()] += amount

    def observe_ms(self, name: str, value: float) -> None:
        self.counters[name] += 1

    def gauge(self, name: str, value: float | None, **labels: str) -> None:
        key = name + "".join(f",{label}={text}" for label, text in sorted(labels.items()))
        if value is None:
            self.values.pop(key, None)
        else:
            self.values[key] = value

    def gauges(self) -> dict[str, float]:
        return dict(sorted(self.values.items()))

    def report(self) -> None:
        self.reports += 1

    def verdict(self, verdict: Verdict) -> None:
        self.lines.append(verdict)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]
