"""From a judgement to a verdict that is journaled, told to the gate and on its way to the ledger.

The order is fixed: journal, publish, record, acknowledge. A decision is never on the wire without a
journal entry, so none is ever without a row. A frame is settled once; a frame whose time is over
while it is being scored is told to the gate at once, and its row waits for the late score.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from inspector.domain import (
    Cause,
    DeadLetter,
    Decision,
    Failure,
    Judgement,
    Outcome,
    Picture,
    Severity,
    Verdict,
)
from inspector.errors import InspectorError
from inspector.ports import DeadLetters, GateLine, Images, Journal, VerdictSink
from inspector.stream.admission import MissedPart
from inspector.stream.deciding import Ruling, decide, rule
from inspector.stream.gates import MissingView, count_streak
from inspector.stream.pipeline.recording import Recording
from inspector.stream.pipeline.room import JournalRoom
from inspector.stream.pipeline.ticket import Row, Shared, Ticket
from inspector.stream.pipeline.verdicts import (
    Signature,
    missed_part,
    missing_view,
    of_standing,
    verdict_of,
    with_late_score,
)

T = TypeVar("T")


class Settling:
    """Settles tickets. Its tasks run in the pipeline's task group."""

    def __init__(
        self,
        shared: Shared,
        signature: Signature,
        journal: tuple[Journal, JournalRoom],
        recording: Recording,
        gate_line: GateLine | None,
        sink: VerdictSink,
        kept: tuple[Images, DeadLetters],
    ) -> None:
        self._shared = shared
        self._signature = signature
        self._journal, self._room = journal
        self._recording = recording
        self._gate_line = gate_line
        self._sink = sink
        self._images, self._dead_letters = kept
        self._tasks: asyncio.TaskGroup | None = None
        self._under_way: set[asyncio.Task[Any]] = set()
        self._told: dict[Ticket, tuple[asyncio.Task[Verdict], Decision | None]] = {}

    def attach(self, tasks: asyncio.TaskGroup) -> None:
        """Where publishing tasks live; called once, before the first frame."""
        self._tasks = tasks

    def abandon(self) -> None:
        """The drain's time is over: what is still publishing or waiting for the journal is given up, unacknowledged."""
        for task in list(self._under_way):
            task.cancel()

    def settle(self, ticket: Ticket, judgement: Judgement) -> None:
        """Decide, journal, and start publishing. A ticket that is settled already only takes a late score."""
        if ticket.is_settled:
            if ticket in self._told and not ticket.has_late_score:
                ticket.has_late_score = True
                self._spawn(self._finish_late(ticket, judgement))
            return
        ticket.is_settled = True
        verdict, decision = self._rule(ticket, judgement, is_late=self._is_late(ticket))
        self._spawn(self._finish(ticket, judgement, verdict, decision))

    def tell_late(self, ticket: Ticket) -> None:
        """The time of a frame that is being scored is over: tell the gate now, keep the row for the score."""
        ticket.is_settled = True
        verdict, decision = self._rule(ticket, ticket.judgement, is_late=True)
        self._told[ticket] = self._spawn(self._announce(ticket, verdict, decision)), decision

    def overload(self, ticket: Ticket, detail: str) -> None:
        """Shed a frame, with a row."""
        self.settle(ticket, replace(ticket.judgement, failure=Failure(Cause.OVERLOAD, detail)))

    def settle_missed(self, missed: MissedPart) -> None:
        """A part passed uninspected: a row and an event, nothing for the gate."""
        policy = self._shared.policies[missed.camera]
        verdict = missed_part(missed, self._signature, policy, self._shared.clock.now())
        self._spawn(self._finish_frameless(self._with_standing(verdict), None))

    def settle_missing_view(self, gate: str, missing: MissingView) -> None:
        """A view did not come in time: its row, and the part's decision if it was the last one awaited."""
        camera = self._shared.config.camera_named(missing.camera)
        ruling = rule(Cause.VIEW_MISSING, self._shared.policies[missing.camera])
        verdict = missing_view(
            missing.camera, camera.view, missing.part, gate, ruling, self._signature, self._shared.clock.now()
        )
        verdict = self._with_standing(verdict)
        self._spawn(self._finish_frameless(verdict, self._shared.gates[gate].missing_view(missing.part, verdict)))

    def _is_late(self, ticket: Ticket) -> bool:
        if ticket.judgement.admitted.is_late:
            return True
        return ticket.decide_by_ns is not None and self._shared.clock.monotonic_ns() >= ticket.decide_by_ns

    def _rule(self, ticket: Ticket, judgement: Judgement, is_late: bool) -> tuple[Verdict, Decision | None]:
        at_gate = self._shared.gate_of(ticket.camera)
        mode = judgement.admitted.standing.mode
        ruling = decide(judgement, self._shared.policies[ticket.camera], mode, is_late)
        verdict = self._verdict(judgement, ruling, at_gate[0].name if at_gate else None)
        decision = at_gate[1].judged(judgement.admitted, verdict) if at_gate else None
        if decision is not None:
            self._count_streak(decision)
        return verdict, decision

    def _verdict(self, judgement: Judgement, ruling: Ruling, gate: str | None) -> Verdict:
        age_ns = self._shared.clock.monotonic_ns() - judgement.admitted.delivery.received_ns
        return verdict_of(judgement, ruling, self._signature, gate, self._shared.clock.now(), age_ns / 1e6)

    def _with_standing(self, verdict: Verdict) -> Verdict:
        """A row without a frame belongs to the job of its part."""
        standing = self._shared.admission.standing(
            verdict.gate or verdict.camera, verdict.epoch, verdict.lap, verdict.trigger_id, verdict.decided_at
        )
        return replace(verdict, **of_standing(standing))

    def _count_streak(self, decision: Decision) -> None:
        counter = self._shared.admission.counter(decision.gate)
        counter.update(count_streak(counter.state, decision.action))
        limit = next(gate.storm_consecutive for gate in self._shared.config.gate if gate.name == decision.gate)
        if limit is not None and counter.state.reject_streak == limit:
            # An alarm only: thresholds stay, and whether the line stops is the PLC's and a person's to say.
            self._shared.event("storm", Severity.ALARM, decision.gate, f"{limit} rejects in a row")

    async def _finish(self, ticket: Ticket, judgement: Judgement, verdict: Verdict, decision: Decision | None) -> None:
        await self._release(ticket, judgement, await self._announce(ticket, verdict, decision), decision)

    async def _announce(self, ticket: Ticket | None, verdict: Verdict, decision: Decision | None) -> Verdict:
        """Journal first, then the gate. The verdict comes back saying whether the gate was told in time."""
        await self._append(verdict, decision)
        if ticket is not None:
            ticket.is_journaled = True
        self._shared.checkpoint("journaled")
        if decision is None or self._gate_line is None:
            return verdict
        is_dropped = self._shared.gates[decision.gate].is_dropped(decision)
        is_published = not is_dropped and await self._gate_line.publish(decision)
        self._shared.checkpoint("published")
        self._journal.append_published(verdict.result_id, is_published)
        self._shared.telemetry.count("decisions", action=decision.action.value, published=str(is_published).lower())
        return replace(verdict, published=is_published)

    async def _append(self, verdict: Verdict, decision: Decision | None) -> None:
        # No decision without an entry: while the journal is full the gate's own default stands.
        await self._room.taken(lambda: self._journal.append_verdict(verdict, decision))

    async def _release(self, ticket: Ticket, judgement: Judgement, verdict: Verdict, decision: Decision | None) -> None:
        admitted = judgement.admitted
        await self._sink.publish(verdict)
        if verdict.cause is Cause.UNDECODABLE:
            await self._keep_dead_letter(judgement, verdict)
        elif verdict.outcome is not Outcome.UNINSPECTED:
            heat_map = judgement.scored.heat_map if judgement.scored else None
            self._images.keep(Picture(verdict, admitted.delivery.payload, heat_map))
        self._shared.telemetry.verdict(verdict)
        self._recording.finish(ticket, Row(verdict, decision))

    async def _keep_dead_letter(self, judgement: Judgement, verdict: Verdict) -> None:
        delivery = judgement.admitted.delivery
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
            await self._dead_letters.put(letter)
        except InspectorError as error:
            # The row still says what happened; the bytes are lost, and somebody has to know.
            self._shared.event("dead_letter_lost", Severity.ALARM, verdict.camera, str(error))

    async def _finish_frameless(self, verdict: Verdict, decision: Decision | None) -> None:
        verdict = await self._announce(None, verdict, decision)
        await self._sink.publish(verdict)
        self._shared.telemetry.verdict(verdict)
        self._recording.add(Row(verdict, decision))

    async def _finish_late(self, ticket: Ticket, judgement: Judgement) -> None:
        announcement, decision = self._told.pop(ticket)
        verdict = with_late_score(await announcement, judgement)
        await self._append(verdict, decision)
        await self._release(ticket, judgement, verdict, decision)

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        if self._tasks is None:
            raise RuntimeError("attach a task group first")
        task = self._tasks.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task
