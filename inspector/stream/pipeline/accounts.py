"""Watches the account of parts: tells each kind of contradiction, holds a gate beyond its bound, and closes lots.

A part is looked at once, when nothing more has come about it for the gate's `ack_within_s`. A part about which
something comes later is looked at again; so is one that waits to be told, because events come at a bounded rate. Parts
that nobody inspects (other modes, bypass) are left out. An agent that starts, or comes to own a gate, goes back to what
was not told before: the stored events say which parts and lots were.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from inspector.config.line_sections import GateSection
from inspector.domain import GateTerms, HeldFor, Part, PartClass, PartFacts, PartSelection, ResultId, Severity
from inspector.errors import LedgerUnavailable, RowDamaged
from inspector.ports import Ledger
from inspector.stream.account_events import ToldParts, parts_text
from inspector.stream.accounting import classify, count_classes, is_contradiction, terms_of_gate
from inspector.stream.pauses import LONGEST_PAUSE_S
from inspector.stream.pipeline.alarms import Alarms, Sentence
from inspector.stream.pipeline.owning import Owning
from inspector.stream.pipeline.reports import Reports
from inspector.stream.pipeline.ticket import Shared
from inspector.stream.pipeline.writing import Writing
from inspector.stream.storms import HELD_UNTIL, hold
from inspector.stream.wording import counted

LOOK_S: Final = 1.0
STEP: Final = timedelta(seconds=60)
"""Longest time that is looked at in one query, after the database was away."""

BEFORE: Final = timedelta(seconds=120)
"""A part whose first frame is older than this, when the last thing about it comes, is not looked at again."""

MOST_PARTS: Final = 100_000
LOT_MARGIN_S: Final = 2.0
"""Time after which a lot is closed, beyond the window and `ack_within_s` of its last part."""

EVENTS: Final[dict[PartClass, tuple[str, Severity, str]]] = {
    PartClass.DONE_OTHERWISE: ("ack_other_than_told", Severity.ALARM, "done otherwise than the gate was told"),
    PartClass.DEFAULT_THOUGH_TOLD: (
        "ack_default_though_told",
        Severity.WARNING,
        "left to the PLC's default though the gate was told in time",
    ),
    PartClass.PASSED_UNJUDGED: ("passed_unjudged", Severity.ALARM, "passed without a judged picture"),
    PartClass.PASSED_WITHOUT_FRAME: ("ack_without_frame", Severity.ALARM, "passed without any picture"),
    PartClass.NEVER_ACKNOWLEDGED: ("ack_missing", Severity.WARNING, "never acknowledged by the PLC"),
}


AFTER_RESTART: Final = timedelta(hours=1)
"""A lot of an earlier run is closed after a start if something came about its parts in this time, and no event has."""

UNTOLD: Final = timedelta(seconds=2 * LONGEST_PAUSE_S)
"""An event may wait for `LONGEST_PAUSE_S`. Parts that are older, before the last sign of a gate, have been told."""

LOTS_KNOWN: Final = timedelta(days=30)
"""A lot whose event is older than this may be told again, if something still comes about its parts."""

PartId = tuple[int, int, int | None, ResultId | None]
"""Epoch, lap and trigger of a part; the result too where parts have no triggers."""


@dataclass(frozen=True, slots=True)
class _EndedLot:
    """A lot to close when it is due. `since`: only if something came about its parts after this time."""

    gate: GateSection
    lot: str
    due: datetime
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Earlier:
    """What was at a gate before this agent had it. `last_sign`: when the last frame or report came until then."""

    last_sign: datetime
    told: ToldParts


@dataclass(slots=True)
class _Untold:
    """Contradictions of one class that wait for their event. `are_old`: something may have come about them since."""

    parts: dict[PartId, Part] = field(default_factory=dict)
    are_old: bool = False


class Accounts:
    """One task that looks at the parts of the gates that this agent has."""

    def __init__(self, shared: Shared, ledger: Ledger, writing: Writing, reports: Reports, owning: Owning) -> None:
        self._shared = shared
        self._owning = owning
        self._ledger = ledger
        self._writing = writing
        self._reports = reports
        self._alarms = Alarms(shared, is_kept=False)
        self._seen_through: dict[str, datetime] = {}
        self._recent: dict[str, deque[bool]] = {}
        self._known_lots: dict[str, set[str]] = {}
        self._ended: list[_EndedLot] = []
        self._untold: dict[tuple[str, PartClass], _Untold] = {}
        self._earlier: dict[str, _Earlier | None] = {}
        now = shared.clock.now()
        self._begun = {gate.name: now for gate in shared.config.gate}

    async def run(self) -> None:
        """Look at what has become of parts, again and again, until cancelled."""
        for gate in self._shared.config.gate:
            self._seen_through[gate.name] = self._begun[gate.name] - timedelta(seconds=gate.ack_within_s)
        while True:
            self._skip_others()
            for gate in self._served():
                self._note_lots(gate)
            await self._look()
            self._alarms.tell_due()
            await self._shared.clock.sleep(LOOK_S)

    def _served(self) -> list[GateSection]:
        """The gates that this agent decides about now. The accounts of the others are another agent's."""
        gates = self._shared.config.gate
        return [gate for gate in gates if self._shared.has_gate(gate.name) and self._owning.owns(gate.name)]

    def _skip_others(self) -> None:
        """The parts and lots of a gate are its owner's to look at, also after this agent has followed it."""
        now = self._shared.clock.now()
        for gate in self._shared.config.gate:
            if self._owning.is_anothers(gate.name):
                self._seen_through[gate.name] = now - timedelta(seconds=gate.ack_within_s)
                self._earlier.pop(gate.name, None)
                self._begun[gate.name] = now
                if not self._shared.is_of_group(gate.name):
                    self._known_lots[gate.name] = set(self._ended_lots(gate))

    async def _look(self) -> None:
        if self._writing.waiting or self._reports.is_behind:
            return  # rows are missing that belong to the time that would be looked at
        for gate in self._served():
            async with self._reading(gate.name):
                await self._look_at(gate)
        now = self._shared.clock.now()
        for ended in [ended for ended in self._ended if ended.due <= now]:
            async with self._reading(ended.gate.name):
                await self._close(ended, now)
                self._ended.remove(ended)

    @contextlib.asynccontextmanager
    async def _reading(self, gate: str) -> AsyncIterator[None]:
        """What the ledger can't say now is looked at later. A damaged row must not end the agent."""
        try:
            yield
        except LedgerUnavailable:
            return  # its own edge is told where rows are written
        except RowDamaged as damage:
            self._alarms.tell("account_unreadable", Severity.WARNING, gate, str(damage))

    async def _look_at(self, gate: GateSection) -> None:
        if gate.name not in self._earlier:
            self._earlier[gate.name] = await self._resumed(gate)
        now, within = self._shared.clock.now(), timedelta(seconds=gate.ack_within_s)
        end, earlier = now - within, self._earlier[gate.name]
        begun = self._begun[gate.name] - within
        while (after := self._seen_through[gate.name]) < end:
            through = min(end, after + STEP)
            if earlier is not None and earlier.last_sign <= after < begun:
                through = min(end, begun)  # nothing came in this time
            wanted = PartSelection(
                now,
                (self._terms(gate),),
                gate=gate.name,
                since=after - BEFORE - within,
                after=after,
                through=through,
            )
            parts = await self._ledger.parts(wanted, MOST_PARTS)
            self._seen_through[gate.name] = through
            await self._judge(gate, parts[::-1])
        await self._tell(gate)

    def _terms(self, gate: GateSection) -> GateTerms:
        return terms_of_gate(gate, self._shared.admission.counter(gate.name).state)

    async def _resumed(self, gate: GateSection) -> _Earlier | None:
        """Go back to what may not have been told when an earlier run ended, and read what was told."""
        last_sign = await self._ledger.last_sign(gate.name, self._begun[gate.name])
        if last_sign is None:
            return None
        begin = last_sign - timedelta(seconds=gate.ack_within_s) - UNTOLD
        kinds = {kind for kind, _, _ in EVENTS.values()}
        events = await self._ledger.events_of(gate.name, kinds, begin)
        self._seen_through[gate.name] = min(self._seen_through[gate.name], begin)
        return _Earlier(last_sign, ToldParts(events))

    async def _judge(self, gate: GateSection, parts: Sequence[Part]) -> None:
        recent = self._recent.setdefault(gate.name, deque(maxlen=gate.account_parts))
        first_epoch = self._owning.succession.accounted_from(gate.name)
        earlier = self._earlier[gate.name]
        for part in parts:
            if part.epoch < first_epoch:
                continue  # another agent told the gate of it
            part_class = classify(part.facts, has_sensor=gate.reject_sensor)
            is_wrong = self._is_wrong(gate, part.facts)
            due = part.latest + timedelta(seconds=gate.ack_within_s)
            if part.facts.is_inspected and (earlier is None or due > earlier.last_sign):
                recent.append(is_wrong)  # an earlier run has counted those that were due before it ended
            is_told = is_wrong and earlier is not None and earlier.told.has(EVENTS[part_class][0], part, due)
            if is_wrong and not is_told:
                self._shared.telemetry.count(EVENTS[part_class][0], gate=gate.name)
                self._untold.setdefault((gate.name, part_class), _Untold()).parts[_id_of(part)] = part
        if gate.account_share is not None and len(recent) == gate.account_parts:
            await self._check_share(gate, recent, gate.account_share)

    async def _tell(self, gate: GateSection) -> None:
        """Tell the contradictions whose time has come. What was settled while they waited is left out."""
        for part_class, (kind, severity, what) in EVENTS.items():
            untold = self._untold.get((gate.name, part_class))
            if untold is None:
                continue
            if not self._alarms.is_due(kind, gate.name):
                untold.are_old = True
                continue
            parts = await self._still_wrong(gate, part_class, untold.parts) if untold.are_old else untold.parts
            del self._untold[gate.name, part_class]
            if parts:
                sentence = _sentence(gate.name, part_class, what)
                wrong = list(parts.values())
                self._alarms.tell(kind, severity, gate.name, parts_text(wrong), len(wrong), sentence)

    async def _still_wrong(
        self, gate: GateSection, part_class: PartClass, parts: Mapping[PartId, Part]
    ) -> dict[PartId, Part]:
        """Those of the parts that are still of this class."""
        times = [part.at for part in parts.values()]
        until = max(times) + timedelta(milliseconds=1)
        wanted = PartSelection(
            self._shared.clock.now(), (self._terms(gate),), gate=gate.name, since=min(times), until=until
        )
        now = {_id_of(part): part for part in await self._ledger.parts(wanted, MOST_PARTS)}
        is_same = {
            part_id: part_id in now and classify(now[part_id].facts, has_sensor=gate.reject_sensor) is part_class
            for part_id in parts
        }
        return {part_id: now[part_id] for part_id in parts if is_same[part_id]}

    @staticmethod
    def _is_wrong(gate: GateSection, facts: PartFacts) -> bool:
        part_class = classify(facts, has_sensor=gate.reject_sensor)
        return is_contradiction(facts, part_class, sends_acks=gate.golden_acks, has_sensor=gate.reject_sensor)

    async def _check_share(self, gate: GateSection, recent: deque[bool], bound: float) -> None:
        wrong = sum(recent)
        if wrong <= bound * len(recent):
            return
        detail = (
            f"{wrong} of the last {len(recent)} parts are not accounted for as they should be, more than account_share "
            f"({bound:g}) allows; see: inspector parts --gate {gate.name}"
        )
        recent.clear()  # told again after as many parts, if it goes on
        counter = self._shared.admission.counter(gate.name)
        if gate.account_holds and not counter.state.held:
            counter.update(
                hold(counter.state, HeldFor.ACCOUNT, self._shared.clock.now(), self._shared.config.agent.name)
            )
            self._shared.has_gate_change.set()
            detail += f"; {HELD_UNTIL}"
            self._shared.event("account_beyond_bound", Severity.ALARM, gate.name, detail)
            await self._ledger.record([], [], [counter.recorded_state])
        else:
            if gate.account_holds:
                self._shared.alarms_while_held[gate.name] += 1
            self._alarms.tell("account_beyond_bound", Severity.ALARM, gate.name, detail)

    def _note_lots(self, gate: GateSection) -> None:
        """Note the lots that the gate's next part no longer belongs to."""
        ended = self._ended_lots(gate)
        now = self._shared.clock.now()
        due = now + timedelta(seconds=gate.window_ms / 1000 + gate.ack_within_s + LOT_MARGIN_S)
        known = self._known_lots.get(gate.name)
        if known is None:
            self._ended += [_EndedLot(gate, lot, due, now - AFTER_RESTART) for lot in dict.fromkeys(ended)]
        else:
            self._ended += [_EndedLot(gate, lot, due) for lot in dict.fromkeys(ended) if lot not in known]
        self._known_lots[gate.name] = set(ended)

    def _ended_lots(self, gate: GateSection) -> list[str]:
        counter = self._shared.admission.counter(gate.name)
        next_part = (counter.state.epoch, counter.reached + 1)
        begun = [job for job in counter.state.jobs if (job.from_epoch, job.from_count) <= next_part]
        return [job.lot for job in begun[:-1] if job.lot is not None and job.lot != begun[-1].lot]

    async def _close(self, ended: _EndedLot, now: datetime) -> None:
        terms = (self._terms(ended.gate),)
        wanted = PartSelection(now, terms, gate=ended.gate.name, lot=ended.lot)
        if ended.since is not None and not await self._is_to_be_closed(ended, wanted, ended.since):
            return
        counts = await self._ledger.count_parts(wanted)
        classes = count_classes(counts, terms)
        is_clean = not any(self._is_wrong(ended.gate, each.facts) for each in counts)
        said = "".join(f", {number} {each.replace('_', ' ')}" for each in PartClass if (number := classes[each]))
        said += "" if is_clean else f"; see: inspector parts --lot {ended.lot}"
        severity = Severity.INFO if is_clean else Severity.WARNING
        self._shared.event(
            "lot_account",
            severity,
            ended.gate.name,
            f"{_lot_has_ended(ended.lot)}{counted(classes.total(), 'part')}{said}",
        )

    async def _is_to_be_closed(self, ended: _EndedLot, wanted: PartSelection, since: datetime) -> bool:
        """Whether a lot of an earlier run had parts lately, and its end was not told or more parts came after that."""
        if not await self._ledger.parts(replace(wanted, after=since), 1):
            return False
        events = await self._ledger.events_of(ended.gate.name, {"lot_account"}, wanted.now - LOTS_KNOWN)
        told = next((event for event in events if event.detail.startswith(_lot_has_ended(ended.lot))), None)
        return told is None or bool(await self._ledger.parts(replace(wanted, since=told.at), 1))


def _id_of(part: Part) -> PartId:
    return part.epoch, part.lap, part.trigger_id, None if part.trigger_id is not None else part.result_id


def _sentence(gate: str, part_class: PartClass, what: str) -> Sentence:
    look = f"see: inspector parts --gate {gate} --class {part_class}"
    return lambda count, cases: f"{counted(count, 'part')} {what}: {cases}; {look}"


def _lot_has_ended(lot: str) -> str:
    return f"lot {lot} has ended: "
