"""Judges frames that came too late, when the line has time, and adds what they showed to their rows.

A late frame at a gate never waits in line. Its row says `late` at once, and its picture is kept (`LateFrames`). A late
frame is judged only while no live frame is under way and no deadline can suffer (../spare_time.py). Its record is
published once, when it has been judged or given up and its row says so. A finding waits on disk while the ledger is
away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from inspector.domain import (
    WAITED_ELSEWHERE,
    Cause,
    DeadLetter,
    Failure,
    FrameFacts,
    GateMode,
    LateFrame,
    LateOutcome,
    PartSelection,
    Picture,
    ResultId,
    Severity,
    Verdict,
)
from inspector.errors import InspectorError, LedgerUnavailable, RowDamaged
from inspector.ports import DeadLetters, Images, LateFrames, Ledger, Lineup, VerdictSink
from inspector.stream.accounting import BY_DECISION, terms_of_gate
from inspector.stream.deciding import decide
from inspector.stream.late_record import given_up
from inspector.stream.pipeline.judging import MOST_KILLED_TRIES, Judging
from inspector.stream.pipeline.ticket import Shared
from inspector.stream.pipeline.verdicts import with_finding
from inspector.stream.pipeline.writing import Writing
from inspector.stream.wording import counted

LOOK_S: Final = 0.05
"""Seconds between two looks whether the line has time."""

RETRY_S: Final = 1.0
GROUP: Final = 64
MOST_FINDINGS: Final = 256
"""While this many findings wait for the ledger, no further frame is judged, because findings have no bound."""

REJECTS_EVERY_S: Final = 60.0
"""Seconds between two events of one camera about late frames that showed a reject."""

ACKS_BEFORE: Final = timedelta(hours=1)
MOST_PARTS: Final = 100_000

LOST: Final = "its picture is gone from this machine"


@dataclass(frozen=True, slots=True)
class LateOutlets:
    """The receivers of a late frame that has been judged, besides its row."""

    sink: VerdictSink
    images: Images
    dead_letters: DeadLetters


class Afterwards:
    """Runs two tasks: one judges late frames, the other brings what they showed to the ledger and publishes it."""

    def __init__(
        self,
        shared: Shared,
        late_frames: LateFrames,
        judging: Judging,
        writing: Writing,
        ledger: Ledger,
        outlets: LateOutlets,
        lineup: Callable[[], Lineup | None],
    ) -> None:
        self._shared = shared
        self._late_frames = late_frames
        self._judging = judging
        self._writing = writing
        self._ledger = ledger
        self._outlets = outlets
        self._lineup = lineup
        self._rejects = _RejectNews(shared)

    async def run(self) -> None:
        """Judge one late frame after the other, while the line has time, until cancelled."""
        try:
            while True:
                self._measure()
                self._rejects.tell()
                frame = await self._late_frames.take() if self._has_time() else None
                if frame is None:
                    await self._shared.clock.sleep(LOOK_S)
                else:
                    await self._judge(frame)
        finally:
            self._rejects.tell(is_last=True)

    async def run_findings(self) -> None:
        """Bring findings to the ledger, oldest first, until cancelled."""
        is_reconciled = False
        while True:
            try:
                if not is_reconciled:
                    await self._give_up_lost()
                    is_reconciled = True
                is_done = await self._amend_oldest()
            except LedgerUnavailable:
                is_done = False  # the edge is logged where rows are written
            if not is_done:
                await self._shared.has_finding.wait(RETRY_S)

    def _measure(self) -> None:
        self._shared.telemetry.gauge("late_frames_waiting", self._late_frames.waiting)
        self._shared.telemetry.gauge("late_frames_bytes", self._late_frames.size_bytes)

    def _has_time(self) -> bool:
        lineup = self._lineup()
        if not self._late_frames.waiting or lineup is None or not lineup.products:
            return False
        if len(self._late_frames.finding_ids()) >= MOST_FINDINGS:
            return False
        if not self._shared.is_idle:
            return False
        return self._shared.spare_time.is_enough(self._shared.clock.monotonic_ns())

    async def _judge(self, frame: LateFrame) -> None:
        began_ns = self._shared.clock.monotonic_ns()
        facts = FrameFacts(frame.admitted)
        if frame.tries >= MOST_KILLED_TRIES:
            detail = f"its decoding ended the agent {frame.tries} times; not tried again"
            facts = FrameFacts(frame.admitted, failure=Failure(Cause.UNDECODABLE, detail))
        else:
            facts = await self._judging.judge_alone(frame.admitted)
            self._shared.spare_time.note_late(self._shared.clock.monotonic_ns() - began_ns)
        policy = self._shared.policies[frame.verdict.camera]
        ruling = decide(facts, policy, frame.admitted.standing.mode, is_late=False)
        finding = with_finding(frame.verdict, facts, ruling, self._shared.clock.now())
        self._shared.checkpoint("judged_late")
        await self._late_frames.put_finding(finding)
        self._shared.telemetry.count("late_judged", outcome=ruling.outcome.value)
        await self._keep_picture(frame, finding, facts)
        if finding.late_outcome is LateOutcome.REJECT and await self._is_told_elsewhere(finding):
            self._shared.telemetry.count("late_rejects_elsewhere", camera=finding.camera)
        else:
            self._rejects.note(finding)
        self._shared.has_finding.set()

    async def _is_told_elsewhere(self, finding: Verdict) -> bool:
        """Whether the part is known to be another agent's: by its epoch, or by an ack for a decision of that agent."""
        gate = next((each for each in self._shared.config.gate if each.name == finding.gate), None)
        if gate is None:
            return False
        terms = terms_of_gate(gate, self._shared.admission.counter(gate.name).state)
        if terms.has_elsewhere(finding.epoch):
            return True
        if finding.cause_detail != WAITED_ELSEWHERE:
            return False
        now = self._shared.clock.now()
        wanted = PartSelection(now, (terms,), gate=gate.name, since=finding.received_at - ACKS_BEFORE)
        try:
            parts = await self._ledger.parts(wanted, MOST_PARTS)
        except (LedgerUnavailable, RowDamaged):
            return False  # a false alarm is better than none
        return any(
            part.facts.is_elsewhere
            and part.trigger_id == finding.trigger_id
            and part.facts.ack is not None
            and part.facts.ack.source == BY_DECISION
            for part in parts
        )

    async def _keep_picture(self, frame: LateFrame, finding: Verdict, facts: FrameFacts) -> None:
        delivery = frame.admitted.delivery
        if finding.late_cause is not Cause.UNDECODABLE:
            heat_map = facts.scored.heat_map if facts.scored else None
            self._outlets.images.keep(Picture(finding, delivery.payload, heat_map))
            return
        letter = DeadLetter(
            result_id=finding.result_id,
            camera=finding.camera,
            payload=delivery.payload,
            properties=delivery.properties,
            cause=Cause.UNDECODABLE,
            detail=finding.late_detail or "",
            received_at=finding.received_at,
            verdict=finding,
        )
        try:
            await self._outlets.dead_letters.put(letter)
        except InspectorError as error:
            self._shared.telemetry.count("dead_letters_lost")
            self._shared.event("dead_letter_lost", Severity.ALARM, finding.camera, str(error))

    async def _amend_oldest(self) -> bool:
        """Bring one group of findings to the ledger. Returns whether there was one."""
        ids = self._ready()
        if not ids:
            return False
        findings = await self._late_frames.findings(ids)
        missing = set(await self._ledger.amend(findings))
        for finding in findings:
            self._shared.checkpoint("amended")
            if finding.result_id not in missing:  # a frame without a row was not acknowledged, and comes again
                self._count_given_up(finding)
                await self._outlets.sink.publish(finding)
        await self._late_frames.forget(ids)
        return True

    def _ready(self) -> list[ResultId]:
        """The oldest findings whose rows are in the ledger."""
        if self._writing.waiting:
            return []
        ids = self._late_frames.finding_ids()
        return [result_id for result_id in ids if result_id not in self._shared.in_flight][:GROUP]

    async def _give_up_lost(self) -> None:
        """Give up the frames of earlier runs whose pictures are gone, for example after a power loss."""
        last: ResultId | None = None
        while waiting := await self._ledger.waiting(self._shared.config.agent.name, GROUP, after=last):
            last = waiting[-1].result_id
            now = self._shared.clock.now()
            lost = [given_up(row, LOST, now) for row in waiting if not self._is_known(row.result_id)]
            await self._ledger.amend(lost)
            for finding in lost:
                self._count_given_up(finding)
                await self._outlets.sink.publish(finding)

    def _count_given_up(self, finding: Verdict) -> None:
        if finding.late_cause is None:
            self._shared.telemetry.count("late_given_up")

    def _is_known(self, result_id: ResultId) -> bool:
        return self._late_frames.has(result_id) or result_id in self._shared.in_flight


@dataclass(slots=True)
class _Rejects:
    count: int
    last: Verdict


class _RejectNews:
    """Tells people of late frames that showed a reject: at once, then at most once every `REJECTS_EVERY_S` a camera."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._untold: dict[str, _Rejects] = {}
        self._told_ns: dict[str, int] = {}

    def note(self, finding: Verdict) -> None:
        is_of_the_line = not finding.simulated and finding.mode is not GateMode.GOLDEN
        if finding.late_outcome is not LateOutcome.REJECT or not is_of_the_line:
            return
        untold = self._untold.setdefault(finding.camera, _Rejects(0, finding))
        untold.count += 1
        untold.last = finding
        self._shared.telemetry.count("late_rejects", camera=finding.camera)
        if untold.count.bit_count() == 1:  # not for each of thousands that waited behind a stopped agent
            self._shared.event_waits("late_reject", Severity.ALARM, finding.camera, _found_bad(untold))
        self.tell()

    def tell(self, *, is_last: bool = False) -> None:
        """Tell what is due; at the end of the run, tell everything."""
        now_ns = self._shared.clock.monotonic_ns()
        for camera, untold in list(self._untold.items()):
            told_ns = self._told_ns.get(camera)
            if not is_last and told_ns is not None and now_ns - told_ns < REJECTS_EVERY_S * 1e9:
                continue
            del self._untold[camera]
            self._told_ns[camera] = now_ns
            self._shared.event("late_reject", Severity.ALARM, camera, _found_bad(untold))


def _found_bad(rejects: _Rejects) -> str:
    last = rejects.last
    trigger = "" if last.trigger_id is None else f" of trigger {last.trigger_id}, epoch {last.epoch}"
    return (
        f"{counted(rejects.count, 'part')} found bad afterwards, without a decision in time, so that the "
        f"PLC's own default has decided. The last is result {last.result_id}{trigger}. See what became of "
        "them: inspector parts; list them: inspector results list --late reject"
    )
