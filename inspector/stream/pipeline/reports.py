"""Makes the reports of PLCs durable in the journal and the ledger, then acknowledges them to the broker.

The order is fixed: receive, journal, record, acknowledge. While the ledger is away, a report is acknowledged once the
journal holds it on stable storage, and its row is written later, in the order of receipt. While a report can't be
journaled it is not acknowledged: the line stops reading, and the broker keeps the rest. Only these reports count all
parts.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from dataclasses import dataclass, replace
from typing import Final

from inspector.config.line_sections import GateSection
from inspector.domain import AckContradiction, GateAction, GateMode, GateReport, GateState, Position, Severity
from inspector.errors import LedgerUnavailable
from inspector.ports import AckLine, Journal, Ledger
from inspector.stream.accounting import ACTIONS
from inspector.stream.acks import NoSuchPart, PartFinder, Redeliveries, is_doubtful, names_no_part
from inspector.stream.pipeline.alarms import Alarms
from inspector.stream.pipeline.camera_watch import CameraWatch
from inspector.stream.pipeline.owning import Owning
from inspector.stream.pipeline.room import JournalRoom
from inspector.stream.pipeline.ticket import Shared, Signal
from inspector.stream.wording import counted

RETRY_S: Final = 1.0
GROUP: Final = 128
PATIENCE_S: Final = 0.25
"""Longest time that acknowledgements wait for the ledger; after this time the journal is synced instead."""

_SOURCES: Final = {1: "decision", 2: "default", 3: "bypass", 4: "hand"}

STATE_S: Final = 1.0
"""How long the stored state of a gate counts as current."""

STRANGE_S: Final = 60.0
"""How long an epoch of which nothing is stored counts as one that never was, before the ledger is asked again."""

STRANGE_KEPT: Final = 1000

MOST_UNSURE: Final = 1000
"""Most reports of an unknown epoch that are taken unchecked while the ledger is away; then they are forged."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """A report as it came. `is_known`: the broker has delivered it before, and it is only acknowledged again."""

    report: GateReport
    is_known: bool


class Reports:
    """One task takes reports, one makes them durable and acknowledges them, one writes their rows."""

    def __init__(
        self,
        shared: Shared,
        ledger: Ledger,
        room: JournalRoom,
        ack_line: AckLine | None,
        camera_watch: CameraWatch,
        owning: Owning,
    ) -> None:
        self._shared = shared
        self._owning = owning
        self._camera_watch = camera_watch
        self._ledger = ledger
        self._room = room
        self._ack_line = ack_line
        self._alarms = Alarms(shared)
        self._parts = PartFinder()
        self._redeliveries = Redeliveries()
        self._stored: dict[str, tuple[int, GateState]] = {}
        self._known_epochs: set[tuple[str, int]] = set()
        self._strange_epochs: dict[tuple[str, int], int] = {}
        self._unsure = 0
        self._taken: deque[_Taken] = deque()
        self._has_taken = Signal()
        self._waiting: deque[str] = deque()
        self._has_waiting = Signal()
        self._has_written = Signal()
        self._journaled_count = self._written_count = 0
        self._is_ledger_away = False

    @property
    def is_behind(self) -> bool:
        """Whether reports that came a while ago may have no row yet."""
        return self._is_ledger_away or len(self._waiting) > GROUP

    @property
    def _journal(self) -> Journal:
        return self._room.journal

    async def recover(self) -> int:
        """Write the rows of reports that an earlier run journaled. Returns their number. Raises LedgerUnavailable."""
        self._redeliveries = Redeliveries(self._journal.nameless_gate_actions())
        self._waiting.extend(self._journal.unrecorded_gate_actions())
        count = self._journaled_count = len(self._waiting)
        while self._waiting:
            await self._write_oldest()
        return count

    async def run(self) -> None:
        """Take, store and acknowledge reports until cancelled; returns at once if there is no gate."""
        if self._ack_line is None:
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._take(self._ack_line))
            tasks.create_task(self._store(self._ack_line))
            tasks.create_task(self._write())
            tasks.create_task(self._alarms.run())

    async def finish(self) -> None:
        """Give rows that wait a last moment. What has none then is in the journal."""
        await self._until_written(self._journaled_count)
        self._alarms.tell_due(is_last=True)

    async def _take(self, ack_line: AckLine) -> None:
        async for report in ack_line.reports():
            self._shared.checkpoint("ack_received")
            taken = self._met(report)
            for listen in self._shared.ack_listeners if not taken.is_known else ():
                listen(taken.report.action)
            self._taken.append(taken)
            self._has_taken.set()

    def _met(self, report: GateReport) -> _Taken:
        """The report with the frame that it is about, if it names no part. The next frame may come soon."""
        action = report.action
        section = self._section(action.gate)
        if not names_no_part(action, section):
            return _Taken(report, is_known=False)
        if self._redeliveries.is_known(action):
            return _Taken(report, is_known=True)
        self._redeliveries.note(action)
        about = self._shared.last_seen.pop(action.gate, None)
        return _Taken(replace(report, action=replace(action, result_id=about)), is_known=False)

    async def _store(self, ack_line: AckLine) -> None:
        while True:
            if not self._taken:
                await self._has_taken.wait()
                continue
            group = list(itertools.islice(self._taken, GROUP))
            new = [taken.report.action for taken in group if not taken.is_known]
            await self._ensure_owners_known({action.gate for action in new})
            ids = [action.report_id for each in new if (action := await self._journaled(each)) is not None]
            await self._ensure_durable(ids)
            for _ in ids:
                self._shared.checkpoint("ack_recorded")
            for _ in group:
                self._taken.popleft()
            await self._acknowledge(ack_line, [taken.report for taken in group])

    async def _ensure_owners_known(self, gates: set[str]) -> None:
        """Until it is known who owns these gates, nobody can say whose parts the reports are about."""
        for gate in gates:
            if self._shared.has_gate(gate) and not self._shared.is_of_group(gate):
                await self._owning.ensure_known(gate)

    async def _acknowledge(self, ack_line: AckLine, group: list[GateReport]) -> None:
        last: dict[int, Position] = {report.position.generation: report.position for report in group}
        sent = {generation for generation, position in last.items() if await ack_line.acknowledge(position)}
        self._redeliveries.acknowledged(
            report.action.packet_id for report in group if report.position.generation in sent
        )
        for _ in group:
            self._shared.checkpoint("ack_acknowledged")

    async def _journaled(self, received: GateAction) -> GateAction | None:
        """The report with its part, in the journal; None if it is about no part of this gate."""
        if not self._owning.takes_report(received.gate, received.epoch):
            self._shared.telemetry.count("acks_of_another_agent", gate=received.gate)
            return None
        is_anothers = self._owning.is_anothers(received.gate)
        try:
            action = await self._placed(received)
        except NoSuchPart as fault:
            self._shared.telemetry.count("acks_of_no_part", gate=received.gate)
            if not is_anothers:  # the owner tells it
                self._alarms.tell("ack_of_no_part", Severity.WARNING, received.gate, str(fault), sentence=_of_no_part)
            return None
        await self._room.taken(lambda: self._journal.append_gate_action(action))
        self._shared.checkpoint("ack_journaled")
        if not is_anothers:
            self._camera_watch.note_report(action)
            self._note_bypass(action)
        return action

    def _note_bypass(self, action: GateAction) -> None:
        """A line that is bypassed at its PLC while this agent judges rejects nothing, and its people may not know."""
        if _SOURCES.get(action.source) == "bypass" and action.mode is GateMode.AUTO:
            case = f"trigger {action.trigger_id} of epoch {action.epoch}"
            self._alarms.tell("bypassed_at_plc", Severity.WARNING, action.gate, case, sentence=_bypassed)

    async def _placed(self, received: GateAction) -> GateAction:
        section = self._section(received.gate)
        state = await self._state(section, received)
        if 1 <= received.epoch < state.epoch:
            await self._ensure_was(received)
        action = self._parts.placed(received, section, state)
        number = None if action.in_flight else action.trigger_id
        at = action.received_at
        standing = self._shared.admission.standing(action.gate, action.epoch, action.lap, number, at)
        job = standing.job
        return replace(action, mode=standing.mode, lot=job.lot if job else None, job_id=job.job_id if job else None)

    async def _state(self, section: GateSection, action: GateAction) -> GateState:
        """The state of the gate. Another agent may have counted further, and this one may not know it yet."""
        own = self._shared.admission.counter(section.name).state
        if self._shared.has_gate(section.name) and not is_doubtful(action, section, own):
            return own
        now_ns = self._shared.clock.monotonic_ns()
        loaded_ns, stored = self._stored.get(section.name, (None, own))
        if loaded_ns is None or now_ns - loaded_ns > STATE_S * 1e9 or action.epoch > max(own.epoch, stored.epoch):
            try:
                stored = (await self._ledger.load_gates([section.name])).get(section.name, own)
            except LedgerUnavailable:
                # Which epoch the gate has can't be known now. The report may be right, so it must not be lost.
                self._take_unsure(action)
                return replace(own, epoch=max(own.epoch, action.epoch))
            self._unsure = 0
            self._stored[section.name] = now_ns, stored
        return max(own, stored, key=_reach)

    async def _ensure_was(self, action: GateAction) -> None:
        """Raises NoSuchPart for an earlier epoch that neither this run nor anything stored knows."""
        gate, epoch = action.gate, action.epoch
        if self._shared.admission.counter(gate).has_had(epoch) or (gate, epoch) in self._known_epochs:
            return
        now_ns = self._shared.clock.monotonic_ns()
        looked_ns = self._strange_epochs.get((gate, epoch))
        if looked_ns is None or now_ns - looked_ns > STRANGE_S * 1e9:
            try:
                is_known = await self._ledger.has_epoch(gate, epoch)
            except LedgerUnavailable:
                self._take_unsure(action)
                return
            self._unsure = 0
            if is_known:
                self._known_epochs.add((gate, epoch))
                return
            while len(self._strange_epochs) >= STRANGE_KEPT:
                del self._strange_epochs[next(iter(self._strange_epochs))]
            self._strange_epochs[gate, epoch] = now_ns
        raise NoSuchPart(f"nothing is known of epoch {epoch} of the gate")

    def _take_unsure(self, action: GateAction) -> None:
        """Count a report that can't be checked while the ledger is away. Raises NoSuchPart beyond the bound."""
        self._unsure += 1
        if self._unsure > MOST_UNSURE:
            raise NoSuchPart(f"nothing is known of epoch {action.epoch} of the gate while the database is away")

    def _section(self, name: str) -> GateSection:
        return next(gate for gate in self._shared.config.gate if gate.name == name)

    async def _ensure_durable(self, ids: list[str]) -> None:
        """Return when these reports have rows, or are on stable storage in the journal."""
        if not ids:
            return
        self._waiting.extend(ids)
        self._journaled_count += len(ids)
        goal = self._journaled_count
        self._has_waiting.set()
        await self._until_written(goal)
        if self._written_count < goal:
            await self._room.synced()

    async def _until_written(self, goal: int) -> None:
        """Wait until so many reports have rows, but not for long, and not for a ledger that is away."""
        until_ns = self._shared.clock.monotonic_ns() + PATIENCE_S * 1e9
        while self._written_count < goal and not self._is_ledger_away:
            left_s = (until_ns - self._shared.clock.monotonic_ns()) / 1e9
            if left_s <= 0:
                return
            await self._has_written.wait(left_s)

    async def _write(self) -> None:
        while True:
            if not self._waiting:
                await self._has_waiting.wait()
                continue
            try:
                await self._write_oldest()
            except LedgerUnavailable:
                self._is_ledger_away = True
                self._has_written.set()
                await self._shared.clock.sleep(RETRY_S)
            else:
                self._is_ledger_away = False
                self._has_written.set()

    async def _write_oldest(self) -> None:
        ids = list(itertools.islice(self._waiting, GROUP))
        contradictions = await self._ledger.record_gate_actions(self._journal.read_gate_actions(ids))
        self._journal.append_gate_actions_recorded(ids)
        for _ in ids:
            self._waiting.popleft()
        self._written_count += len(ids)
        for contradiction in contradictions:
            self._tell(contradiction)

    def _tell(self, contradiction: AckContradiction) -> None:
        report = contradiction.report
        self._shared.telemetry.count("acks_contradicting", gate=report.gate)
        if self._owning.is_anothers(report.gate) and not self._shared.is_of_group(report.gate):
            return  # the owner of the gate tells it
        first, then = _words(contradiction.first), _words(report.done_as)
        case = f"trigger {report.trigger_id} of epoch {report.epoch} first as {first}, then as {then}"
        self._alarms.tell("ack_contradicts", Severity.ALARM, report.gate, case, sentence=_contradicted)


def _reach(state: GateState) -> tuple[int, int]:
    return state.epoch, -1 if state.last_trigger is None else state.last_trigger


def _of_no_part(count: int, cases: str) -> str:
    said = counted(count, "acknowledgement")
    return (
        f"{said} of the PLC about no part of this gate, not stored: {cases}; the PLC must send ep of the heartbeat and "
        "its own count (docs/gate.md, ack)"
    )


def _contradicted(count: int, cases: str) -> str:
    return (
        f"the PLC acknowledged {counted(count, 'part')} in ways that contradict each other: {cases}; the first counts, "
        "and the others are kept with it. Look at the program that sends ack"
    )


def _bypassed(count: int, cases: str) -> str:
    return (
        f"by the word of the PLC {counted(count, 'part')} went through the gate in bypass while this agent judges, so "
        f"nothing was rejected: {cases}. End the bypass at the PLC, or give the agent the mode (docs/commands.md)"
    )


def _words(done_as: tuple[int, int, int]) -> str:
    act, source, done = done_as
    said = f"{ACTIONS[act]} by {_SOURCES.get(source, f'src {source}')}" if act < len(ACTIONS) else f"act {act}"
    return f"{said}{'' if done else ' (not done)'}"
