"""The contract suite of ledgers, which the ledger in memory and the SQL ledgers pass.

A subclass provides the fixture `ledger` (entered, empty, over the fixture `clock`) and the method `stored`, which reads
back everything that the ledger holds.
"""

from __future__ import annotations

import dataclasses

import pytest

from inspector.domain import (
    Action,
    Cause,
    CauseRun,
    ChallengeResult,
    Correction,
    Gap,
    GateMode,
    GateState,
    GoldenState,
    HeldFor,
    Identity,
    Job,
    LateOutcome,
    MasterAck,
    Order,
    Outcome,
    Region,
    SeenMaster,
    Severity,
    StormCounts,
    TimeSource,
    Verdict,
)
from inspector.ports import Ledger
from inspector.store.row_mapping import FINDING_COLUMNS
from inspector.store.stored_records import Conflict, StoredDecision
from inspector.testing.clock import START
from inspector.testing.ledger_parts_suite import LedgerPartsSuite
from inspector.testing.ledger_suite import Stored
from inspector.testing.samples import (
    challenge_of,
    command_of,
    decision_for,
    event_of,
    missed_verdict_of_part,
    shadow_result_of,
    verdict_of_part,
)

__all__ = ["LedgerContract", "Stored"]


def waiting_frame(number: int) -> Verdict:
    """The row of a frame that came too late, before it is judged."""
    return verdict_of_part(
        number,
        gate="g1",
        outcome=Outcome.UNJUDGED,
        cause=Cause.LATE,
        cause_detail="waited in the broker",
        action=Action.QUARANTINE,
        published=False,
        late_outcome=LateOutcome.WAITING,
        **dict.fromkeys(FINDING_COLUMNS),
    )


def finding_of(verdict: Verdict) -> Verdict:
    """The same frame with what it showed when it was judged afterwards."""
    return dataclasses.replace(
        verdict,
        product="bolt",
        product_version=2,
        artifact_digest="a" * 64,
        registry_revision="7",
        route_confidence=0.75,
        level=1.75,
        score=3.5,
        threshold=2.0,
        decode_ms=1.0,
        route_ms=2.0,
        embed_ms=3.0,
        score_ms=4.0,
        engine="onnxruntime",
        regions=(Region(1, 2, 3, 4, 9, 1.75),),
        late_outcome=LateOutcome.REJECT,
        late_cause=Cause.ANOMALY,
        late_detail="größer als erlaubt",
        judged_at=START.replace(microsecond=500_000),
    )


class LedgerContract(LedgerPartsSuite):
    """The whole suite. A test module subclasses it as `Test...`, so that pytest collects it."""

    async def test_record_a_verdict_of_every_field_reads_back_the_same(self, ledger: Ledger) -> None:
        verdict = verdict_of_part(
            1,
            gate="g1",
            lap=3,
            mode=GateMode.GOLDEN,
            part_id="p-1",
            inspection_no=2,
            outcome=Outcome.REJECT,
            cause=Cause.ANOMALY,
            cause_detail="größer als erlaubt",
            action=Action.REJECT,
            captured_at=START.replace(microsecond=7000),
            act_before=START.replace(microsecond=999_000),
            time_source=TimeSource.CAMERA,
            published=True,
            shadow=True,
            simulated=True,
            redelivered=True,
            id_conflict=True,
            regions=(Region(1, 2, 3, 4, 9, 1.75), Region(5, 6, 7, 8, 40, 1.25)),
            lot="L1",
            job_id="J1",
            engine="onnxruntime",
            artifact_digest="a" * 64,
            route_confidence=0.9,
            decode_ms=1.0,
            route_ms=2.0,
            embed_ms=3.0,
            score_ms=4.0,
        )
        assert await ledger.record([verdict], [], []) == []
        assert (await self.stored(ledger)).rows == [verdict]

    async def test_amend_adds_what_a_late_frame_showed_and_changes_nothing_else(self, ledger: Ledger) -> None:
        verdict = waiting_frame(1)
        await ledger.record([verdict, waiting_frame(2)], [], [])
        assert await ledger.amend([finding_of(verdict)]) == []
        row = (await self.stored(ledger)).rows[0]
        assert row == finding_of(verdict)
        assert (row.outcome, row.cause, row.action, row.published) == (
            Outcome.UNJUDGED,
            Cause.LATE,
            Action.QUARANTINE,
            False,
        )
        assert (await self.stored(ledger)).rows[1] == waiting_frame(2)

    async def test_amend_again_keeps_what_was_found_first(self, ledger: Ledger) -> None:
        verdict = waiting_frame(1)
        await ledger.record([verdict], [], [])
        await ledger.amend([finding_of(verdict)])
        other = dataclasses.replace(finding_of(verdict), late_outcome=LateOutcome.PASS, score=0.1)
        assert await ledger.amend([other, other]) == []
        assert (await self.stored(ledger)).rows == [finding_of(verdict)]

    async def test_amend_never_changes_a_value_or_a_row_that_does_not_wait(self, ledger: Ledger) -> None:
        judged = verdict_of_part(1)
        kept = dataclasses.replace(waiting_frame(2), product="nut", decode_ms=7.0)
        await ledger.record([judged, kept], [], [])
        await ledger.amend([finding_of(judged), finding_of(kept)])
        rows = (await self.stored(ledger)).rows
        assert rows[0] == judged
        assert (rows[1].product, rows[1].decode_ms, rows[1].level) == ("nut", 7.0, 1.75)

    async def test_amend_names_findings_without_a_row(self, ledger: Ledger) -> None:
        stored, gone = waiting_frame(1), waiting_frame(2)
        await ledger.record([stored], [], [])
        assert await ledger.amend([finding_of(stored), finding_of(gone)]) == [gone.result_id]
        assert (await self.stored(ledger)).rows == [finding_of(stored)]
        assert await ledger.amend([]) == []

    async def test_waiting_is_the_oldest_late_frames_of_the_agent_without_a_finding(self, ledger: Ledger) -> None:
        frames = [waiting_frame(number) for number in range(4)]
        other = dataclasses.replace(waiting_frame(9), agent="agent2")
        await ledger.record([verdict_of_part(20), *frames, other], [], [])
        await ledger.amend([finding_of(frames[0])])
        assert await ledger.waiting("agent1", 2) == frames[1:3]
        assert await ledger.waiting("agent1", 9, after=frames[2].result_id) == frames[3:]
        assert await ledger.waiting("agent2", 9) == [other]

    async def test_record_many_keeps_their_order(self, ledger: Ledger) -> None:
        verdicts = [verdict_of_part(number) for number in range(300)]
        await ledger.record(verdicts, [], [])
        assert (await self.stored(ledger)).rows == verdicts

    async def test_record_nothing_is_fine(self, ledger: Ledger) -> None:
        assert await ledger.record([], [], []) == []

    async def test_record_the_same_verdict_again_leaves_one_row(self, ledger: Ledger) -> None:
        verdict = verdict_of_part(1)
        await ledger.record([verdict, verdict], [], [])
        assert await ledger.record([dataclasses.replace(verdict, redelivered=True)], [], []) == []
        stored = await self.stored(ledger)
        assert stored.rows == [verdict]
        assert stored.conflicts == []

    async def test_record_another_outcome_keeps_the_first_row_and_names_the_conflict(self, ledger: Ledger) -> None:
        first = verdict_of_part(1)
        second = dataclasses.replace(first, outcome=Outcome.REJECT, agent="agent2")
        await ledger.record([first], [], [])
        assert await ledger.record([verdict_of_part(2), second], [], []) == [first.result_id]
        stored = await self.stored(ledger)
        assert stored.rows == [first, verdict_of_part(2)]
        assert stored.conflicts == [Conflict(first.result_id, Outcome.PASS, Outcome.REJECT)]

    async def test_record_two_outcomes_in_one_call_keeps_the_first(self, ledger: Ledger) -> None:
        first = verdict_of_part(1)
        second = dataclasses.replace(first, outcome=Outcome.REJECT)
        assert await ledger.record([first, second], [], []) == [first.result_id]
        assert (await self.stored(ledger)).rows == [first]

    @pytest.mark.parametrize(
        ("first", "second", "worst"),
        [
            (Action.PASS, Action.REJECT, Action.REJECT),
            (Action.REJECT, Action.PASS, Action.REJECT),
            (Action.QUARANTINE, Action.REJECT, Action.REJECT),
            (Action.QUARANTINE, Action.PASS, Action.QUARANTINE),
            (Action.NONE, Action.PASS, Action.PASS),
        ],
    )
    async def test_record_two_decisions_of_one_part_keeps_the_worst(
        self, ledger: Ledger, first: Action, second: Action, worst: Action
    ) -> None:
        left, right = verdict_of_part(7, view="left"), verdict_of_part(7, view="right")
        await ledger.record([left], [(decision_for(left, first), True)], [])
        await ledger.record([right], [(decision_for(right, second), False)], [])
        result_id = left.result_id if worst is first else right.result_id
        assert (await self.stored(ledger)).decisions == [StoredDecision("g1", 1, 0, 7, worst, result_id, 1)]

    async def test_record_two_decisions_of_one_part_in_one_call_keeps_the_worst(self, ledger: Ledger) -> None:
        left, right = verdict_of_part(7, view="left"), verdict_of_part(7, view="right")
        decided = [(decision_for(left, Action.REJECT), True), (decision_for(right, Action.PASS), True)]
        await ledger.record([left, right], decided, [])
        assert (await self.stored(ledger)).decisions == [
            StoredDecision("g1", 1, 0, 7, Action.REJECT, left.result_id, 2)
        ]

    @pytest.mark.parametrize("published", [True, None])
    async def test_record_a_decision_that_went_out_is_not_denied_by_the_row_it_names(
        self, ledger: Ledger, published: bool | None
    ) -> None:
        worst = verdict_of_part(7, view="left", gate="g1", published=False)
        last = verdict_of_part(7, view="right", gate="g1", published=published)
        other = verdict_of_part(8, gate="g1", published=False)
        await ledger.record([worst, other], [(decision_for(other), False)], [])
        await ledger.record([last], [(decision_for(worst, Action.QUARANTINE), published)], [])
        stored = await self.stored(ledger)
        assert [row.published for row in stored.rows] == [published, False, published]
        assert [decision.sent for decision in stored.decisions] == [0, int(published is True)]

    @pytest.mark.parametrize("published", [True, None])
    async def test_record_a_decision_that_went_out_is_not_denied_by_the_row_of_an_agent_that_waits(
        self, ledger: Ledger, published: bool | None
    ) -> None:
        waiting = verdict_of_part(7, gate="g1", published=False, agent="waiting")
        owner = dataclasses.replace(waiting, published=published, agent="owner")
        await ledger.record([waiting], [(decision_for(waiting), False)], [])
        await ledger.record([owner], [(decision_for(owner), published)], [])
        stored = await self.stored(ledger)
        assert [(row.agent, row.published) for row in stored.rows] == [("waiting", published)]
        assert [decision.sent for decision in stored.decisions] == [int(published is True)]

    async def test_record_decisions_of_other_laps_and_epochs_are_other_parts(self, ledger: Ledger) -> None:
        parts = [verdict_of_part(7), verdict_of_part(7, lap=1), verdict_of_part(7, epoch=2)]
        await ledger.record(parts, [(decision_for(part), True) for part in parts], [])
        found = [(decision.epoch, decision.lap) for decision in (await self.stored(ledger)).decisions]
        assert found == [(1, 0), (1, 1), (2, 0)]

    async def test_told_parts_are_the_last_ones_with_the_worst_action_of_each(self, ledger: Ledger) -> None:
        parts = [verdict_of_part(n, epoch=epoch, lap=lap) for n, epoch, lap in ((9, 1, 0), (7, 2, 0), (3, 2, 1))]
        for part in parts:
            await ledger.record([part], [(decision_for(part, Action.PASS), True)], [])
        again = verdict_of_part(3, epoch=2, lap=1, frame_sha256="c" * 64)
        await ledger.record([again], [(decision_for(again, Action.REJECT), True)], [])
        told = [(1, 0, 9, Action.PASS), (2, 0, 7, Action.PASS), (2, 1, 3, Action.REJECT)]
        assert await ledger.told_parts("g1", 10) == told
        assert await ledger.told_parts("g1", 2) == told[1:]
        assert await ledger.told_parts("g2", 10) == []

    async def test_record_decisions_of_parts_in_flight_never_collide(self, ledger: Ledger) -> None:
        parts = [verdict_of_part(number, trigger_id=None) for number in range(3)]
        await ledger.record(parts, [(decision_for(part), True) for part in parts], [])
        again = [(decision_for(parts[0], Action.REJECT), False)]
        await ledger.record([], again, [])
        stored = (await self.stored(ledger)).decisions
        assert [decision.result_id for decision in stored] == [part.result_id for part in parts]
        assert [decision.action for decision in stored] == [Action.REJECT, Action.PASS, Action.PASS]
        assert {decision.trigger_id for decision in stored} == {None}

    async def test_record_decisions_of_a_real_trigger_zero_are_one_part(self, ledger: Ledger) -> None:
        left, right = verdict_of_part(0, view="left"), verdict_of_part(0, view="right")
        decided = [(decision_for(left), True), (decision_for(right, Action.REJECT), True)]
        await ledger.record([left, right], decided, [])
        stored = (await self.stored(ledger)).decisions
        assert [(decision.trigger_id, decision.action) for decision in stored] == [(0, Action.REJECT)]

    async def test_record_decision_of_trigger_zero_that_names_a_view_recorded_before_is_of_that_part(
        self, ledger: Ledger
    ) -> None:
        left, right = verdict_of_part(0, view="left"), verdict_of_part(0, view="right")
        await ledger.record([left], [], [])
        await ledger.record([right], [(decision_for(left), True)], [])
        stored = (await self.stored(ledger)).decisions
        assert stored == [StoredDecision("g1", 1, 0, 0, Action.PASS, left.result_id, 1)]

    async def test_record_decision_alone_is_of_the_part_that_it_names(self, ledger: Ledger) -> None:
        zero, nameless = verdict_of_part(0), verdict_of_part(1, trigger_id=None)
        await ledger.record([], [(decision_for(zero), True), (decision_for(nameless), True)], [])
        await ledger.record([], [(decision_for(zero, Action.REJECT), True)], [])
        stored = (await self.stored(ledger)).decisions
        assert sorted(stored, key=lambda decision: decision.trigger_id is None) == [
            StoredDecision("g1", 1, 0, 0, Action.REJECT, zero.result_id, 2),
            StoredDecision("g1", 1, 0, None, Action.PASS, nameless.result_id, 1),
        ]

    async def test_load_gates_of_an_empty_ledger_is_empty(self, ledger: Ledger) -> None:
        assert await ledger.load_gates() == {}

    async def test_load_gates_gives_the_newest_state(self, ledger: Ledger) -> None:
        old = GateState("g1", 1, 17, 0, False, GateMode.AUTO)
        new = GateState("g1", 2, None, 3, True, GateMode.SETUP)
        other = GateState("g2", 1, 2**40, 0, False, GateMode.AUTO)
        await ledger.record([], [], [old, other])
        await ledger.record([], [], [new])
        assert await ledger.load_gates() == {"g1": new, "g2": other}

    async def test_record_a_gate_of_an_older_epoch_changes_nothing(self, ledger: Ledger) -> None:
        new = GateState("g1", 2, 5)
        await ledger.record([], [], [new])
        await ledger.record([], [], [GateState("g1", 1, 900)])
        assert await ledger.load_gates() == {"g1": new}

    async def test_record_a_gate_that_is_behind_in_its_epoch_changes_nothing(self, ledger: Ledger) -> None:
        new = GateState("g1", 2, 900, reject_streak=1)
        await ledger.record([], [], [new])
        await ledger.record([], [], [GateState("g1", 2, 899)])
        await ledger.record([], [], [GateState("g1", 2, None)])
        assert await ledger.load_gates() == {"g1": new}
        again = GateState("g1", 2, 900, held=True)
        await ledger.record([], [], [again])
        assert await ledger.load_gates() == {"g1": again}

    async def test_load_gates_of_given_names_is_no_others(self, ledger: Ledger) -> None:
        await ledger.record([], [], [GateState("g1", 2, 5), GateState("g2", 1, 7)])
        assert await ledger.load_gates(["g2", "g3"]) == {"g2": GateState("g2", 1, 7)}
        assert await ledger.load_gates([]) == {}

    async def test_record_gaps_of_a_gate_read_back_the_same(self, ledger: Ledger) -> None:
        state = GateState("g1", 2, 40, gaps=(Gap(1, 7, 9), Gap(2, -1, -1)))
        await ledger.record([], [], [state])
        assert await ledger.load_gates() == {"g1": state}
        await ledger.record([], [], [dataclasses.replace(state, gaps=())])
        assert (await ledger.load_gates())["g1"].gaps == ()

    @pytest.mark.parametrize("are_apart", [True, False])
    @pytest.mark.parametrize("is_frame_first", [True, False])
    async def test_record_frame_of_a_missed_part_corrects_its_row_once(
        self, ledger: Ledger, is_frame_first: bool, are_apart: bool
    ) -> None:
        missed, frame = missed_verdict_of_part(7, lap=2), verdict_of_part(7, gate="g1", lap=2)
        verdicts = [frame, missed] if is_frame_first else [missed, frame]
        others = [verdict_of_part(8, gate="g1"), verdict_of_part(7, gate="g1"), missed_verdict_of_part(9)]
        await ledger.record(others, [], [])
        for group in [[verdict] for verdict in verdicts] if are_apart else [verdicts]:
            await ledger.record(group, [], [])
        correction = Correction("g1", 1, 7, missed.result_id, frame.result_id)
        assert ledger.take_corrections() == [correction]
        assert await ledger.record([*verdicts, *others], [], []) == []
        assert ledger.take_corrections() == []
        corrected = {row.result_id: row.corrected_by for row in (await self.stored(ledger)).rows if row.corrected_by}
        assert corrected == {missed.result_id: frame.result_id}

    @pytest.mark.parametrize("change", [{"simulated": True}, {"gate": "g2"}, {"epoch": 2}, {"lap": 1}])
    async def test_record_frame_of_another_part_corrects_nothing(
        self, ledger: Ledger, change: dict[str, object]
    ) -> None:
        frame = verdict_of_part(7, **{"gate": "g1", **change})
        await ledger.record([missed_verdict_of_part(7), frame], [], [])
        assert ledger.take_corrections() == []
        assert [row.corrected_by for row in (await self.stored(ledger)).rows] == [None, None]

    async def test_sightings_are_the_newest_frames_oldest_first(self, ledger: Ledger) -> None:
        verdicts = [verdict_of_part(number) for number in range(5)]
        other = verdict_of_part(9, camera="cam2")
        missed = verdict_of_part(10, frame_sha256=None, outcome=Outcome.UNINSPECTED, cause=Cause.NOT_RECEIVED)
        await ledger.record([*verdicts, other, missed], [], [])
        found = await ledger.sightings("cam1", 3)
        assert [sighting.result_id for sighting in found] == [verdict.result_id for verdict in verdicts[2:]]
        assert [sighting.key.result_id for sighting in found] == [verdict.result_id for verdict in verdicts[2:]]
        assert all(sighting.acknowledged for sighting in found)

    async def test_sightings_are_of_the_current_and_the_previous_epoch(self, ledger: Ledger) -> None:
        verdicts = [verdict_of_part(number, epoch=epoch, gate="g1") for number, epoch in enumerate([1, 2, 3])]
        await ledger.record(verdicts, [], [])
        found = await ledger.sightings("cam1", 10)
        assert [(sighting.key.epoch, sighting.gate) for sighting in found] == [(2, "g1"), (3, "g1")]

    async def test_sightings_of_a_weak_frame_carry_its_result_id(self, ledger: Ledger) -> None:
        verdict = verdict_of_part(1, trigger_id=None, frame_id=None, identity=Identity.WEAK)
        await ledger.record([verdict], [], [])
        (found,) = await ledger.sightings("cam1", 10)
        assert found.result_id == verdict.result_id
        assert found.key.identity is Identity.WEAK
        assert found.key.sha256 == verdict.frame_sha256

    async def test_record_a_part_that_comes_again_counts_its_inspections(self, ledger: Ledger) -> None:
        await ledger.record([verdict_of_part(1, part_id="p"), verdict_of_part(2, part_id="q")], [], [])
        await ledger.record([verdict_of_part(3, part_id="p"), verdict_of_part(4, part_id="p")], [], [])
        rows = (await self.stored(ledger)).rows
        assert [(row.part_id, row.inspection_no) for row in rows] == [("p", 1), ("q", 1), ("p", 2), ("p", 3)]

    async def test_record_two_views_of_a_part_is_one_inspection(self, ledger: Ledger) -> None:
        left = verdict_of_part(1, gate="g1", part_id="p", camera="cam1")
        right = verdict_of_part(1, gate="g1", part_id="p", camera="cam2")
        again = verdict_of_part(2, gate="g1", part_id="p", camera="cam1")
        await ledger.record([left], [], [])
        await ledger.record([right, again], [], [])
        assert [row.inspection_no for row in (await self.stored(ledger)).rows] == [1, 1, 2]

    async def test_record_a_trigger_that_comes_again_without_a_gate_is_one_inspection(self, ledger: Ledger) -> None:
        first, other = verdict_of_part(1, part_id="p", camera="cam1"), verdict_of_part(2, part_id="p", camera="cam1")
        again = verdict_of_part(1, part_id="p", camera="cam1", frame_id="again")
        elsewhere = verdict_of_part(1, part_id="p", camera="cam2")
        await ledger.record([first, other], [], [])
        await ledger.record([again, elsewhere], [], [])
        assert [row.inspection_no for row in (await self.stored(ledger)).rows] == [1, 2, 1, 1]

    async def test_record_simulated_parts_are_counted_apart(self, ledger: Ledger) -> None:
        await ledger.record([verdict_of_part(1, part_id="p", simulated=True), verdict_of_part(2, part_id="p")], [], [])
        assert [row.inspection_no for row in (await self.stored(ledger)).rows] == [1, 1]

    async def test_record_a_gate_made_before_a_command_does_not_undo_it(self, ledger: Ledger) -> None:
        job = Job("J1", "L1", "bolt", 1, 6)
        ordered = GateState("g1", 1, 5, 0, False, GateMode.CLEAN, START, (job,), orders=2)
        await ledger.record([], [], [GateState("g1", 1, 5)])
        assert await ledger.record_command(command_of("c1"), [ordered])
        await ledger.record([], [], [GateState("g1", 1, 6, reject_streak=1, orders=1)])
        await ledger.record([], [], [GateState("g2", 1, 1)])
        told = dataclasses.replace(ordered, last_trigger=6, reject_streak=1)
        assert await ledger.load_gates() == {"g1": told, "g2": GateState("g2", 1, 1)}

    async def test_record_a_gate_that_was_held_elsewhere_keeps_the_hold(self, ledger: Ledger) -> None:
        counted = StormCounts("0110", (CauseRun("cam", "unknown_product", 4),))
        held = GateState("g1", 1, 9, 2, True, held_for=HeldFor.REJECT_SHARE, storm=counted, watched=7)
        await ledger.record([], [], [held])
        assert await ledger.load_gates() == {"g1": held}
        await ledger.record([], [], [GateState("g1", 1, 8, 0, watched=9)])
        kept = dataclasses.replace(held, reject_streak=0, storm=StormCounts(), watched=9)
        assert await ledger.load_gates() == {"g1": kept}, "the hold of a state that is further stays"
        await ledger.record([], [], [GateState("g1", 1, 10, 1, watched=3)])
        assert await ledger.load_gates() == {"g1": dataclasses.replace(kept, last_trigger=10)}

    async def test_record_a_gate_keeps_when_and_by_whom_it_was_held_until_its_release(self, ledger: Ledger) -> None:
        held = GateState("g1", 1, 9, held=True, held_for=HeldFor.ACCOUNT, held_since=START, held_by="a", epoch_of="i")
        await ledger.record([], [], [held])
        assert await ledger.load_gates() == {"g1": held}
        await ledger.record([], [], [GateState("g1", 2, watched=1, epoch_of="j")])
        (kept,) = (await ledger.load_gates()).values()
        assert (kept.held, kept.held_since, kept.held_by) == (True, START, "a")
        assert (kept.epoch, kept.epoch_of) == (2, "j")
        await ledger.record([], [], [GateState("g1", 2, 1, watched=2, releases=1)])
        (freed,) = (await ledger.load_gates()).values()
        assert (freed.held, freed.held_since, freed.held_by) == (False, None, None)

    async def test_record_a_release_ends_a_hold_and_an_older_state_does_not_bring_it_back(self, ledger: Ledger) -> None:
        held = GateState("g1", 1, 9, 2, True, held_for=HeldFor.REJECT_SHARE, watched=7)
        await ledger.record([], [], [held])
        released = GateState("g1", 1, 9, releases=1, watched=8, orders=1)
        assert await ledger.record_command(command_of("c1"), [released])
        await ledger.record([], [], [dataclasses.replace(held, last_trigger=10, watched=20)])
        assert await ledger.load_gates() == {"g1": dataclasses.replace(released, last_trigger=10)}

    async def test_challenge_is_stored_with_its_command_and_ended_once(self, ledger: Ledger) -> None:
        challenge = challenge_of("c1")
        golden = GateState("g1", 1, 5, golden=GoldenState("c1", ("G1",), is_collecting=True), watched=1, orders=1)
        assert await ledger.record_command(command_of("c1"), [golden], challenge)
        assert await ledger.load_challenge("c1", "g1") == challenge
        assert await ledger.load_challenge("c1", "g2") is None
        assert await ledger.load_gates() == {"g1": golden}
        ended = dataclasses.replace(
            challenge,
            result=ChallengeResult.PASSED,
            ended=START,
            version=3,
            seen=(SeenMaster(1, 7, "G1", Outcome.PASS, "ok", "r1", told=True),),
            acks=(MasterAck(1, 8, 2, 1, 1),),
            detail="2 of 2",
        )
        after = GateState("g1", 1, 6, watched=2, orders=2)
        assert await ledger.record_challenge(ended, after)
        again = dataclasses.replace(ended, result=ChallengeResult.PASSED, detail="again")
        assert not await ledger.record_challenge(again, GateState("g1", 1, 7, watched=3, orders=3))
        assert await ledger.load_challenge("c1", "g1") == ended
        assert await ledger.load_gates() == {"g1": after}

    async def test_failure_of_a_challenge_takes_back_that_it_was_passed(self, ledger: Ledger) -> None:
        challenge = challenge_of("c1")
        assert await ledger.record_command(command_of("c1"), [GateState("g1", 1, 5, watched=1, orders=1)], challenge)
        passed = dataclasses.replace(challenge, result=ChallengeResult.PASSED, ended=START, detail="2 of 2")
        assert await ledger.record_challenge(passed, GateState("g1", 1, 6, watched=2, orders=2))
        failed = dataclasses.replace(passed, result=ChallengeResult.FAILED, detail="passed by hand")
        held = GateState("g1", 1, 6, held=True, held_for=HeldFor.GOLDEN_FAILED, watched=3, orders=3)
        assert await ledger.record_challenge(failed, held, was=ChallengeResult.PASSED)
        assert await ledger.load_challenge("c1", "g1") == failed
        assert await ledger.load_gates() == {"g1": held}

    async def test_gate_keeps_what_it_knows_about_challenges(self, ledger: Ledger) -> None:
        golden = GoldenState(None, (), False, START, "bolt", ("bolt:3", "nut:1"), START, "the changeover to nut")
        state = GateState("g1", 1, 5, watched=3, golden=golden)
        await ledger.record([], [], [state])
        assert await ledger.load_gates() == {"g1": state}

    async def test_failed_challenge_stores_the_hold_even_where_it_was_ended_before(self, ledger: Ledger) -> None:
        held = GateState("g1", 1, 5, held=True, held_for=HeldFor.GOLDEN_FAILED, watched=2)
        failed = challenge_of("c1", result=ChallengeResult.FAILED, ended=START)
        assert not await ledger.record_challenge(failed, held)
        assert await ledger.load_gates() == {"g1": held}

    async def test_record_command_again_writes_nothing(self, ledger: Ledger) -> None:
        assert await ledger.record_command(command_of("c1"), [GateState("g1", 2, None, orders=1)])
        assert not await ledger.record_command(command_of("c1"), [GateState("g1", 3, None, orders=2)])
        assert await ledger.record_command(command_of("c1", agent="agent2"), [])
        assert await ledger.record_command(command_of("c2", is_obeyed=False, orders=()), [])
        assert await ledger.load_gates() == {"g1": GateState("g1", 2, None, orders=1)}
        assert [(found.cmd_id, found.agent, found.is_obeyed) for found in (await self.stored(ledger)).commands] == [
            ("c1", "agent1", True),
            ("c1", "agent2", True),
            ("c2", "agent1", False),
        ]

    async def test_last_order_of_a_gate_says_who_gave_it_and_why(self, ledger: Ledger) -> None:
        assert await ledger.last_order("g1", "mode") is None
        await ledger.record_command(command_of("c1"), [])
        back = (Order("g1", "mode", "clean", "bypass"), Order("g2", "mode", "auto", "bypass"))
        await ledger.record_command(command_of("c2", by="ben", reason="belt repair", orders=back), [])
        await ledger.record_command(command_of("c3", orders=(Order("g1", "job", "none", "J7"),)), [])
        given = await ledger.last_order("g1", "mode")
        assert given is not None
        assert (given.order, given.by, given.reason) == (back[0], "ben", "belt repair (command c2)")

    async def test_record_shadow_results_read_back_the_same_and_are_written_once(self, ledger: Ledger) -> None:
        scored = shadow_result_of(1, level=1.25, score=2.5, threshold=2.0, outcome=Outcome.REJECT)
        failed = shadow_result_of(2, outcome=Outcome.UNJUDGED, detail="größer als erlaubt")
        await ledger.record_shadow_results([scored, failed])
        later = dataclasses.replace(scored, outcome=Outcome.PASS)
        other_version = dataclasses.replace(scored, product_version=3)
        await ledger.record_shadow_results([later, other_version])
        await ledger.record_shadow_results([])
        assert (await self.stored(ledger)).shadow_results == [scored, failed, other_version]

    async def test_record_events_are_kept_in_order(self, ledger: Ledger) -> None:
        happened = [event_of("link_down"), event_of("link_up", severity=Severity.INFO)]
        await ledger.record_events(happened)
        await ledger.record_events([])
        assert (await self.stored(ledger)).events == happened
