"""Turns the facts of a frame into a verdict, journals it, publishes its decision and hands its row to the ledger.

The order is fixed: journal, publish, record, acknowledge. No decision is sent before its journal entry,
so every decision has a row. A frame is settled once. If the deadline of a frame passes while it is
being scored, the decision is sent to the gate at once, and the row waits for the late score.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeVar

from inspector.domain import (
    WAITED_ELSEWHERE,
    Action,
    Admitted,
    Cause,
    DeadLetter,
    Decision,
    Failure,
    FrameFacts,
    FrameFault,
    GateMode,
    HoldNote,
    LateFrame,
    LateOutcome,
    Outcome,
    Picture,
    ResultId,
    Severity,
    Verdict,
)
from inspector.errors import InspectorError, JournalFull
from inspector.ports import DeadLetters, GateLine, Images, LateFrames, VerdictSink
from inspector.stream.admission import MissedPart
from inspector.stream.deciding import Policy, Ruling, decide, rule
from inspector.stream.gates import Gate, MissingView
from inspector.stream.pipeline.challenging import Challenging
from inspector.stream.pipeline.heartbeats import Heartbeats
from inspector.stream.pipeline.holding import Holding
from inspector.stream.pipeline.recording import Recording
from inspector.stream.pipeline.room import JournalRoom
from inspector.stream.pipeline.shadowing import Shadowing
from inspector.stream.pipeline.ticket import FaultRun, Row, Shared, Ticket
from inspector.stream.pipeline.verdicts import (
    Signature,
    frame_verdict,
    missed_part,
    missing_view,
    standing_fields,
    with_late_score,
)
from inspector.stream.wording import FAULT_WORDS, counted

T = TypeVar("T")

_TOLD: Final = {True: "in_time", False: "not_in_time", None: "unknown"}

DISK_PATIENCE_S = 1.0
"""Longest time that the row of a late frame waits for its picture, so that a slow disk never holds up live frames."""


@dataclass(frozen=True, slots=True)
class Outlets:
    """The receivers of a settled frame besides the journal and the ledger. `gate_line` None: the agent has no gate."""

    gate_line: GateLine | None
    sink: VerdictSink
    images: Images
    dead_letters: DeadLetters
    late_frames: LateFrames
    heartbeats: Heartbeats
    shadowing: Shadowing
    challenging: Challenging
    holding: Holding


@dataclass(frozen=True, slots=True)
class _Announcement:
    """A late frame's decision is being published; its row waits for the score. `task` returns the verdict."""

    task: asyncio.Task[Verdict]
    decision: Decision | None


class Settling:
    """Settles tickets. Its tasks run in the pipeline's task group."""

    def __init__(
        self,
        shared: Shared,
        signature: Signature,
        room: JournalRoom,
        recording: Recording,
        outlets: Outlets,
    ) -> None:
        self._shared = shared
        self._signature = signature
        self._room = room
        self._recording = recording
        self._outlets = outlets
        self._tasks: asyncio.TaskGroup | None = None
        self._under_way: set[asyncio.Task[Any]] = set()
        self._told: dict[Ticket, _Announcement] = {}
        self.deferring = 0
        """Late frames whose bytes are still in memory."""
        self._holding = outlets.holding
        self._holds: dict[ResultId, HoldNote] = {}
        self._first_generations: dict[tuple[str, int], int] = {}

    def attach(self, tasks: asyncio.TaskGroup) -> None:
        """Set the task group in which publishing tasks run. Call once, before the first frame."""
        self._tasks = tasks

    @property
    def is_under_way(self) -> bool:
        """Whether a verdict is being journaled or published."""
        return bool(self._under_way)

    def abandon(self) -> None:
        """Give up the frames that are still being journaled or published; they stay unacknowledged."""
        for task in list(self._under_way):
            task.cancel()

    def note_arrival(self, admitted: Admitted) -> None:
        """A frame has come. Among the reference parts of a challenge its part has the next place."""
        gate = self._shared.gate_of(admitted.delivery.camera)
        if gate is not None and self._shared.taken_over.get(gate.name) == admitted.key.epoch:
            generation = admitted.delivery.position.generation
            self._first_generations.setdefault((admitted.key.camera, admitted.key.epoch), generation)
        if gate is not None and admitted.standing.mode is GateMode.GOLDEN:
            self._outlets.challenging.arrived(gate.name, gate.part_of(admitted), admitted)

    def settle(self, ticket: Ticket, facts: FrameFacts) -> None:
        """Decide a frame, and start to journal and publish. A settled ticket only takes a late score."""
        if ticket.is_settled:
            if ticket in self._told and not ticket.has_late_score:
                ticket.has_late_score = True
                self._spawn(self._finish_late(ticket, facts))
            return
        ticket.is_settled = True
        verdict, decision = self._rule(ticket, facts, is_late=self._is_late(ticket))
        self._spawn(self._finish(ticket, facts, verdict, decision))

    def tell_late(self, ticket: Ticket) -> None:
        """Send the gate the decision on a late frame that is still being scored. Its row waits for the score."""
        ticket.is_settled = True
        verdict, decision = self._rule(ticket, ticket.facts, is_late=True)
        self._told[ticket] = _Announcement(self._spawn(self._announce(ticket, verdict, decision)), decision)

    def defer(self, ticket: Ticket) -> None:
        """Record a late frame at once, and keep its picture, so that it is judged when the line has time."""
        ticket.is_settled = True
        verdict, _ = self._rule(ticket, ticket.facts, is_late=True)
        self._shared.spare_time.note_arrival(self._shared.clock.monotonic_ns())
        self.deferring += 1
        verdict = self._of_earlier_owner(ticket.facts.admitted, verdict)
        self._spawn(self._finish_deferred(ticket, replace(verdict, late_outcome=LateOutcome.WAITING)))

    def _of_earlier_owner(self, admitted: Admitted, verdict: Verdict) -> Verdict:
        """The row of a frame that had waited before this agent owned the gate: its part may be another agent's.

        Its lot is that of its number before the takeover, since a job may have begun at a later part.
        """
        if verdict.gate is None or not admitted.delivery.backlog:
            return verdict
        if self._shared.is_anothers(verdict.gate):
            return replace(verdict, cause_detail=WAITED_ELSEWHERE)
        key, first = admitted.key, self._first_generations.get((admitted.key.camera, admitted.key.epoch))
        if first != admitted.delivery.position.generation:
            return verdict
        standing = self._shared.admission.standing(
            verdict.gate, key.epoch - 1, key.lap, key.trigger_id, verdict.received_at
        )
        lots = {name: value for name, value in standing_fields(standing).items() if name != "mode"}
        return replace(verdict, cause_detail=WAITED_ELSEWHERE, **lots)

    def overload(self, ticket: Ticket, detail: str) -> None:
        """Shed a frame: it gets a row without a score."""
        self.settle(ticket, replace(ticket.facts, failure=Failure(Cause.OVERLOAD, detail)))

    def settle_missed(self, missed: MissedPart) -> None:
        """Make the row of a part that was not inspected. Nothing is sent to the gate."""
        policy = self._shared.policies[missed.camera]
        verdict = missed_part(missed, self._signature, policy, self._shared.clock.now())
        self._spawn(self._finish_frameless(self._with_standing(verdict), None))

    def settle_missing_view(self, gate: str, missing: MissingView) -> None:
        """Make the row of a view that did not come in time, and the part's decision if no other view is missing."""
        camera = self._shared.config.camera_named(missing.camera)
        ruling = rule(Cause.VIEW_MISSING, self._shared.policies[missing.camera])
        verdict = missing_view(missing, camera.view, gate, ruling, self._signature, self._shared.clock.now())
        verdict = self._with_standing(verdict)
        decision = self._shared.gates[gate].missing_view(missing.part, verdict)
        self._outlets.challenging.judged(gate, missing.part, verdict, decision)
        self._spawn(self._finish_frameless(verdict, decision))

    def _is_late(self, ticket: Ticket) -> bool:
        if ticket.facts.admitted.is_late:
            return True
        return ticket.decide_by_ns is not None and self._shared.clock.monotonic_ns() >= ticket.decide_by_ns

    def _rule(self, ticket: Ticket, facts: FrameFacts, is_late: bool) -> tuple[Verdict, Decision | None]:
        gate = self._shared.gate_of(ticket.camera)
        mode, admitted = facts.admitted.standing.mode, facts.admitted
        if ticket.decide_by_ns is not None and not admitted.is_late:
            self._shared.headroom.note(ticket.decide_by_ns - self._shared.clock.monotonic_ns())
        policy, seen = self._shared.policies[ticket.camera], facts
        if gate is not None:
            facts = self._at_gate(gate, facts, policy)
        ruling = decide(facts, policy, mode, is_late)
        verdict = self._verdict(facts, ruling, gate.name if gate else None)
        is_unreleased = verdict.cause is Cause.NOT_RELEASED  # the camera is watched all the same
        self._note_frame_health(seen, decide(seen, policy, mode, is_late).cause if is_unreleased else verdict.cause)
        if gate is not None and not facts.admitted.delivery.backlog:
            self._count_late(gate.name, verdict.cause)
            self._note_spare_time(ticket, facts)
        decision = gate.judged(admitted, verdict) if gate else None
        if gate is not None and mode is GateMode.GOLDEN:
            self._outlets.challenging.judged(gate.name, gate.part_of(facts.admitted), verdict, decision)
        if gate is not None and (hold := self._holding.count(gate.name, facts.admitted, verdict, decision)):
            self._keep_hold(verdict, decision, hold)
        return verdict, decision

    def _at_gate(self, gate: Gate, facts: FrameFacts, policy: Policy) -> FrameFacts:
        """The facts as this gate sees them: no reference part but those of a challenge, no part while unreleased."""
        if facts.admitted.standing.mode is GateMode.GOLDEN:
            return self._outlets.challenging.settled_facts(gate.name, gate.part_of(facts.admitted), facts)
        unreleased = self._holding.unreleased(gate.name)
        is_unreadable = facts.failure is not None and facts.failure.cause in (Cause.UNDECODABLE, Cause.OVERLOAD)
        if unreleased is None or is_unreadable:
            return facts
        own = decide(facts, policy, facts.admitted.standing.mode, is_late=False)
        if own.cause is not Cause.OK:
            shown = own.cause.value if own.detail is None else f"{own.cause.value} ({own.detail})"
            unreleased = replace(unreleased, detail=f"{unreleased.detail}; the frame itself: {shown}")
        return replace(facts, failure=unreleased)

    def _keep_hold(self, verdict: Verdict, decision: Decision | None, hold: HoldNote) -> None:
        """Journal the hold before anyone can see it, with the verdict that begins it: both survive kill -9."""
        self._holds[verdict.result_id] = hold
        with contextlib.suppress(JournalFull):  # then the verdict waits for room, and the hold with it
            self._room.journal.append_verdict(verdict, decision, hold)

    def _verdict(self, facts: FrameFacts, ruling: Ruling, gate: str | None) -> Verdict:
        age_ns = self._shared.clock.monotonic_ns() - facts.admitted.delivery.received_ns
        return frame_verdict(facts, ruling, self._signature, gate, self._shared.clock.now(), age_ns / 1e6)

    def _with_standing(self, verdict: Verdict) -> Verdict:
        """The verdict with mode, lot and job of its part, for a row without a frame."""
        standing = self._shared.admission.standing(
            verdict.gate or verdict.camera, verdict.epoch, verdict.lap, verdict.trigger_id, verdict.decided_at
        )
        return replace(verdict, **standing_fields(standing))

    def _note_frame_health(self, facts: FrameFacts, cause: Cause) -> None:
        """Report the beginning and the end of a camera's fault. A simulated frame says nothing about its camera."""
        is_faulty = cause is Cause.FRAME_HEALTH and facts.failure is not None
        if facts.admitted.simulated or not (is_faulty or cause in (Cause.OK, Cause.ANOMALY)):
            return
        camera, watch = facts.admitted.delivery.camera, self._shared.frame_faults
        before = watch.current(camera)
        fault = facts.failure.frame_fault if facts.failure is not None else None
        for report in watch.note(camera, fault, self._shared.clock.monotonic_ns()):
            if report.fault is FrameFault.FROZEN:
                continue  # `frozen` tells of it, with its beginning and its end
            if report.is_over:
                over = f"its frames are judged again; they were {FAULT_WORDS[report.fault]}"
                self._shared.event("frame_health_ended", Severity.INFO, camera, over)
                continue
            measure = "" if facts.failure is None else f"; the last: {facts.failure.detail}"
            detail = (
                f"{counted(report.count, 'frame')} not judged, as the picture is {FAULT_WORDS[report.fault]}{measure}; "
                f"look at camera and light. See: inspector results list --camera {camera} --cause frame_health"
            )
            self._shared.event("frame_health", Severity.ALARM, camera, detail)
        if watch.current(camera) is not before:
            self._shared.has_news.set()

    def _count_late(self, gate: str, cause: Cause) -> None:
        self._note_run(self._shared.late_runs, gate, is_faulty=cause in (Cause.LATE, Cause.OVERLOAD))

    def _note_run(self, runs: dict[str, FaultRun], gate: str, *, is_faulty: bool) -> None:
        before = runs.get(gate, FaultRun())
        now_ns = self._shared.clock.monotonic_ns()
        runs[gate] = FaultRun(before.count + 1, now_ns) if is_faulty else FaultRun()

    def _note_spare_time(self, ticket: Ticket, facts: FrameFacts) -> None:
        if ticket.decide_by_ns is None:
            return
        now_ns = self._shared.clock.monotonic_ns()
        scored, route = facts.scored, facts.route
        work_ms = (facts.decode_ms or 0.0) + (route.route_ms if route else 0.0)
        work_ms += scored.embed_ms + scored.score_ms if scored else 0.0
        self._shared.spare_time.note_live(ticket.decide_by_ns - now_ns, int(work_ms * 1e6) if scored else 0, now_ns)

    async def _finish(self, ticket: Ticket, facts: FrameFacts, verdict: Verdict, decision: Decision | None) -> None:
        await self._release(ticket, facts, await self._announce(ticket, verdict, decision), decision)

    async def _announce(self, ticket: Ticket | None, verdict: Verdict, decision: Decision | None) -> Verdict:
        """Journal the verdict, then publish its decision. `published` of the returned verdict: it was sent in time."""
        is_to_be_sent = decision is not None and self._outlets.gate_line is not None
        # If the process ends before `published` is noted, nobody knows whether the decision went out.
        await self._append(replace(verdict, published=None) if is_to_be_sent else verdict, decision)
        if ticket is not None:
            ticket.is_journaled = True
        self._shared.checkpoint("journaled")
        if decision is None or self._outlets.gate_line is None:
            return verdict
        await self._outlets.heartbeats.ensure_epoch(decision.gate, decision.epoch)
        is_dropped = self._is_dropped(decision)
        is_published = False if is_dropped else await self._publish(self._outlets.gate_line, decision)
        # It may have waited for room at the broker, and its gate may have been held meanwhile.
        is_dropped = is_dropped or (is_published is False and self._is_dropped(decision))
        if not is_dropped and is_published is not None:
            self._note_run(self._shared.untold_runs, decision.gate, is_faulty=not is_published)
        self._shared.checkpoint("published")
        self._outlets.challenging.told(decision, is_published is True)
        self._room.journal.append_published(verdict.result_id, is_published)
        if decision.result_id != verdict.result_id and is_published is not False:
            # The decision speaks for a view that came earlier, whose row must not deny it.
            self._room.journal.append_published(decision.result_id, is_published)
            self._recording.note_published(decision.result_id, is_published)
        self._count(decision, is_published, is_dropped=is_dropped)
        return replace(verdict, published=is_published)

    def _is_dropped(self, decision: Decision) -> bool:
        """Whether the gate must not hear this decision now, because it is held or has begun another epoch."""
        return self._shared.gates[decision.gate].is_dropped(decision) or self._holding.withholds(decision)

    def _may_go(self, decision: Decision) -> bool:
        return not self._is_dropped(decision) and self._outlets.heartbeats.has_told(decision.gate, decision.epoch)

    async def _publish(self, gate_line: GateLine, decision: Decision) -> bool | None:
        began_ns = self._shared.clock.monotonic_ns()
        is_published = await gate_line.publish(decision, partial(self._may_go, decision))
        if is_published is not False:
            self._shared.telemetry.observe_ms("publish", (self._shared.clock.monotonic_ns() - began_ns) / 1e6)
        return is_published

    def _count(self, decision: Decision, is_published: bool | None, *, is_dropped: bool) -> None:
        told = "withheld" if is_dropped else _TOLD[is_published]
        self._shared.telemetry.count("decisions", gate=decision.gate, action=decision.action.value, told=told)
        if decision.action is Action.PASS and decision.cause is not Cause.OK and is_published is not False:
            self._shared.telemetry.count("unjudged_passes", gate=decision.gate)

    async def _append(self, verdict: Verdict, decision: Decision | None) -> None:
        # While the journal is full no decision is sent, and the gate's own default holds.
        hold = self._holds.get(verdict.result_id)
        await self._room.taken(lambda: self._room.journal.append_verdict(verdict, decision, hold))

    async def _release(self, ticket: Ticket, facts: FrameFacts, verdict: Verdict, decision: Decision | None) -> None:
        admitted = facts.admitted
        self._holds.pop(verdict.result_id, None)
        await self._outlets.sink.publish(verdict)
        if verdict.cause is Cause.UNDECODABLE:
            await self._keep_dead_letter(facts, verdict)
        elif verdict.outcome is not Outcome.UNINSPECTED:
            heat_map = facts.scored.heat_map if facts.scored else None
            self._outlets.images.keep(Picture(verdict, admitted.delivery.payload, heat_map))
        self._shared.telemetry.verdict(verdict)
        self._outlets.shadowing.offer(facts, verdict)
        self._shared.let_bytes_go(ticket)
        self._recording.finish(ticket, Row(verdict, decision))

    async def _keep_dead_letter(self, facts: FrameFacts, verdict: Verdict) -> None:
        delivery = facts.admitted.delivery
        letter = DeadLetter(
            result_id=verdict.result_id,
            camera=verdict.camera,
            payload=delivery.payload,
            properties=delivery.properties,
            cause=verdict.cause,
            detail=verdict.cause_detail or "",
            received_at=delivery.received_at,
            verdict=verdict,
        )
        try:
            await self._outlets.dead_letters.put(letter)
        except InspectorError as error:
            # The row still says what happened; the bytes are lost, and somebody has to know.
            self._shared.telemetry.count("dead_letters_lost")
            self._shared.event("dead_letter_lost", Severity.ALARM, verdict.camera, str(error))

    async def _finish_frameless(self, verdict: Verdict, decision: Decision | None) -> None:
        verdict = await self._announce(None, verdict, decision)
        await self._outlets.sink.publish(verdict)
        self._shared.telemetry.verdict(verdict)
        self._recording.add(Row(verdict, decision))

    async def _finish_deferred(self, ticket: Ticket, verdict: Verdict) -> None:
        """Keep the picture, then journal and record the row. The frame is acknowledged last, so nothing is lost."""
        try:
            # A frame that ended the agent when it came live comes again as a late one, and has that try behind it.
            tries = self._room.journal.tries(verdict.camera, verdict.frame_sha256 or "")
            late = LateFrame(verdict, ticket.facts.admitted, tries)
            keeping = asyncio.ensure_future(self._outlets.late_frames.keep(late))
            await asyncio.wait([keeping], timeout=DISK_PATIENCE_S)
            self._shared.checkpoint("kept")
            await self._append(verdict, None)
            ticket.is_journaled = True
            self._shared.checkpoint("journaled")
            self._shared.telemetry.verdict(verdict)
            self._recording.finish(ticket, Row(verdict, None))
        finally:
            self._shared.let_bytes_go(ticket)
            self.deferring -= 1
            self._shared.has_room.set()

    async def _finish_late(self, ticket: Ticket, facts: FrameFacts) -> None:
        told = self._told.pop(ticket)
        verdict = with_late_score(await told.task, facts)
        await self._append(verdict, told.decision)
        await self._release(ticket, facts, verdict, told.decision)

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        if self._tasks is None:
            raise RuntimeError("attach a task group first")
        task = self._tasks.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task
