"""The ticket of a frame, from its admission to its acknowledgement, and the objects that the stages share.

A ticket changes as its frame moves on; one event loop owns the ticket. A ticket is settled once. Later
results of a stage are dropped, except a late score, for which the row waits.
"""

from __future__ import annotations

import asyncio
import enum
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from inspector.config.config import Config
from inspector.config.line_sections import CameraSection, GateSection
from inspector.domain import (
    Correction,
    Decision,
    Event,
    FrameFacts,
    GateAction,
    Image,
    Position,
    ResultId,
    Routed,
    Severity,
    Verdict,
)
from inspector.ports import Clock, FrameSource, Lineup, Telemetry
from inspector.stream.admission import Admission
from inspector.stream.batching import Batcher, WaitingLine
from inspector.stream.deciding import Policy
from inspector.stream.frame_faults import FaultWatch
from inspector.stream.frame_room import FrameRoom
from inspector.stream.gates import Gate
from inspector.stream.rhythm import Rhythm
from inspector.stream.shadow_line import Headroom
from inspector.stream.spare_time import SpareTime
from inspector.stream.watermark import Watermark

Decode = Callable[[bytes, CameraSection], Image]
"""Opens the bytes of a camera's frame, whose pixels are decoded when they are asked for. Raises FrameError."""


class Stage(enum.IntEnum):
    """The stage that a frame has reached."""

    WAITING = 0
    DECODING = 1
    ROUTED = 2
    SCORING = 3


@dataclass(frozen=True, slots=True)
class Receipt:
    """The source of one delivery and its place there, which are needed to acknowledge it."""

    source: FrameSource
    position: Position


@dataclass(slots=True, eq=False)
class Ticket:
    """One admitted frame on its way. `followers` are redeliveries that wait for its row.

    `is_settled`: the frame has a verdict. `is_journaled`: the verdict survives the end of the process.
    """

    facts: FrameFacts
    source: FrameSource
    decide_by_ns: int | None
    stage: Stage = Stage.WAITING
    lineup: Lineup | None = None
    is_settled: bool = False
    is_journaled: bool = False
    has_late_score: bool = False
    followers: list[Receipt] = field(default_factory=list)

    @property
    def result_id(self) -> ResultId:
        return self.facts.admitted.result_id

    @property
    def camera(self) -> str:
        return self.facts.admitted.delivery.camera

    @property
    def receipt(self) -> Receipt:
        return Receipt(self.source, self.facts.admitted.delivery.position)


@dataclass(frozen=True, slots=True)
class BatchItem:
    """A frame that waits for its batch. It holds the prepared pixels, so that they are freed before the ticket."""

    ticket: Ticket
    routed: Routed


@dataclass(frozen=True, slots=True)
class Row:
    """One verdict ready for the ledger. `decision` is the decision made for a gate because of it; None: no decision."""

    verdict: Verdict
    decision: Decision | None = None


class Signal:
    """Wakes all tasks that wait. A `set` before the wait is not lost; several `set` calls count as one.

    A task that wakes must check whether there is work, because it may wake without any work.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: set[asyncio.Future[bool]] = set()

    def set(self) -> None:
        self._is_set = True
        for waiting in self._waiting:
            _wake(waiting, True)

    async def wait(self, timeout_s: float | None = None) -> None:
        """Until set, or until the time is over."""
        if not self._is_set:
            loop = asyncio.get_running_loop()
            waiting: asyncio.Future[bool] = loop.create_future()
            self._waiting.add(waiting)
            # `asyncio.timeout` ends a wait by an exception through the task, which costs several times as much.
            timer = None if timeout_s is None else loop.call_later(timeout_s, _wake, waiting, False)
            try:
                if not await waiting:
                    return
            finally:
                self._waiting.discard(waiting)
                if timer is not None:
                    timer.cancel()
        self._is_set = False


def _wake(waiting: asyncio.Future[bool], is_set: bool) -> None:
    if not waiting.done():
        waiting.set_result(is_set)


@dataclass(frozen=True, slots=True)
class FaultRun:
    """Frames of one gate with the same fault, one after the other. `last_ns`: when the last of them was decided."""

    count: int = 0
    last_ns: int = 0


@dataclass(slots=True)
class Shared:
    """The objects that the stages of one agent share. Made once, at start. `sources` is by camera.

    A stage calls `checkpoint` with its name once for each frame that has passed the stage, even if the stage takes
    many frames at once.
    """

    config: Config
    clock: Clock
    telemetry: Telemetry
    checkpoint: Callable[[str], None]
    admission: Admission
    gates: dict[str, Gate]
    policies: dict[str, Policy]
    watermark: Watermark[Row]
    line: WaitingLine[Ticket]
    batcher: Batcher[BatchItem]
    spare_time: SpareTime
    frame_room: FrameRoom
    in_flight: dict[ResultId, Ticket] = field(default_factory=dict)
    has_frame: Signal = field(default_factory=Signal)
    has_room: Signal = field(default_factory=Signal)
    has_batch_room: Signal = field(default_factory=Signal)
    has_routed: Signal = field(default_factory=Signal)
    has_deadline: Signal = field(default_factory=Signal)
    has_news: Signal = field(default_factory=Signal)
    has_gap: Signal = field(default_factory=Signal)
    has_gate_change: Signal = field(default_factory=Signal)
    """A hold, a mode or a job has changed, which other agents have to hear."""
    decoding: int = 0
    journal_has_room: bool = True
    ledger_is_away: bool = False
    next_deadline_ns: int | None = None
    last_scored_ns: int = 0
    has_finding: Signal = field(default_factory=Signal)
    headroom: Headroom = field(default_factory=Headroom)
    late_runs: dict[str, FaultRun] = field(default_factory=dict)
    """By gate: frames that were decided too late."""
    untold_runs: dict[str, FaultRun] = field(default_factory=dict)
    """By gate: decisions that the broker did not take in time."""
    rhythms: dict[str, Rhythm] = field(default_factory=dict)
    corrections: list[Correction] = field(default_factory=list)
    sources: dict[str, FrameSource] = field(default_factory=dict)
    frame_faults: FaultWatch = field(default_factory=FaultWatch)
    last_seen: dict[str, ResultId] = field(default_factory=dict)
    """By gate for one part at a time: the result of the last frame that came, until a report is about it."""
    alarms_while_held: Counter[str] = field(default_factory=Counter)
    """By gate: alarms that would have held it, had it not been held already."""
    taken_over: dict[str, int] = field(default_factory=dict)
    """By gate: the epoch in which this agent came to own it after another one."""
    is_anothers: Callable[[str], bool] = lambda _gate: False
    """Whether another agent owns the gate, or did so last. Set by `owning`."""
    ack_listeners: list[Callable[[GateAction], None]] = field(default_factory=list)
    """Called with each report of a PLC when it comes. They must not wait and must not raise."""

    def note_ledger(self, is_away: bool, detail: str) -> None:
        """Note whether the ledger is away; a change is an event."""
        if is_away == self.ledger_is_away:
            return
        self.ledger_is_away = is_away
        kind, severity = ("ledger_down", Severity.ALARM) if is_away else ("ledger_up", Severity.INFO)
        self.event(kind, severity, "ledger", detail)
        self.has_news.set()

    def event(self, kind: str, severity: Severity, subject: str, detail: str) -> None:
        """Report an event, at the current time, that a person may have to know."""
        self.telemetry.event(Event(self.clock.now(), kind, severity, subject, detail))

    def event_waits(self, kind: str, severity: Severity, subject: str, detail: str) -> None:
        """Keep, against a kill, an event that is told later, in place of the one of its kind and subject."""
        self.telemetry.event_waits(Event(self.clock.now(), kind, severity, subject, detail))

    def expect_deadline(self, decide_by_ns: int | None) -> None:
        """Wake the watch over deadlines if this deadline is earlier than the deadline that the watch waits for."""
        if decide_by_ns is not None and (self.next_deadline_ns is None or decide_by_ns < self.next_deadline_ns):
            self.has_deadline.set()

    def section_of(self, gate: str) -> GateSection:
        """The configuration of the gate with this name."""
        return next(section for section in self.config.gate if section.name == gate)

    def gate_of(self, camera: str) -> Gate | None:
        """The gate that this camera stands at; None for a camera without one."""
        section = self.config.gate_of(camera)
        return None if section is None else self.gates[section.name]

    @property
    def is_idle(self) -> bool:
        """Whether no frame waits, is decoded or is scored, and every frame in flight has its journal entry."""
        is_on_its_way = self.decoding or len(self.line) or len(self.batcher)
        return not is_on_its_way and all(ticket.is_journaled for ticket in self.in_flight.values())

    def serves(self, camera: str) -> bool:
        """Whether this camera's frames come to this agent, and not to another agent of its group."""
        return self.sources[camera].serves(camera)

    def has_gate(self, name: str) -> bool:
        """Whether this agent has the gate now: frames of one of its cameras come to this agent."""
        return any(self.serves(camera) for gate in self.config.gate if gate.name == name for camera in gate.cameras)

    def is_of_group(self, gate: str) -> bool:
        """Whether all frames of the gate come by Kafka: a group of agents shares them and a ledger, one at a time."""
        cameras = self.section_of(gate).cameras
        return all(self.config.camera_named(camera).source == "kafka" for camera in cameras)

    def ungated_sources(self) -> list[FrameSource]:
        """The sources without any camera at a gate, without duplicates."""
        gated = {id(self.sources[camera]) for gate in self.config.gate for camera in gate.cameras}
        return list({id(source): source for source in self.sources.values() if id(source) not in gated}.values())

    def has_room_for(self, camera: str, size_bytes: int) -> bool:
        """Whether a frame of a camera without a gate may be taken from its broker."""
        has_bytes = self.frame_room.has_room(camera, size_bytes)
        return has_bytes and self.journal_has_room and self.line.has_room(camera)

    def let_bytes_go(self, ticket: Ticket) -> None:
        """The frame's bytes are needed no more, though its row may wait for the database for hours."""
        admitted = ticket.facts.admitted
        bare = replace(admitted, delivery=replace(admitted.delivery, payload=b""))
        ticket.facts = replace(ticket.facts, admitted=bare)
        self.frame_room.let_go(admitted.delivery.position)
        self.has_room.set()

    def owner_of(self, camera: str) -> str:
        """The name that the camera's epoch belongs to: the camera's gate, or the camera itself without a gate."""
        section = self.config.gate_of(camera)
        return camera if section is None else section.name
