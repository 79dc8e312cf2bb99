"""The contract suite of journals, which the journal in memory and the journal on files pass.

A subclass provides the fixture `box`: the place of the journals of successive processes.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import pytest
from hypothesis import strategies as st

from inspector.domain import (
    Action,
    Decision,
    GateAction,
    GateMode,
    HeldFor,
    HoldNote,
    Identity,
    Outcome,
    ResultId,
    Verdict,
)
from inspector.ports import Journal
from inspector.testing.samples import decision_for, gate_action_of, verdict_of_part

Step = tuple[str, int]
"""A step of a history: the action, and the number of its verdict."""

HISTORIES = st.lists(
    st.tuples(
        st.sampled_from(["verdict", "verdict", "published", "unpublished", "recorded", "acknowledged", "kill"]),
        st.integers(min_value=0, max_value=7),
    ),
    max_size=60,
)


class Box(Protocol):
    """The place of one machine's journal, over several processes."""

    async def open(self) -> Journal:
        """The journal of the next process, entered."""

    async def kill(self) -> Journal:
        """End the process as kill -9 does; the journal of the next process, entered."""

    async def restart(self) -> Journal:
        """End the process cleanly; the journal of the next process, entered."""


def weak(number: int) -> Verdict:
    return verdict_of_part(number, trigger_id=None, frame_id=None, identity=Identity.WEAK)


def report(number: int, **changes: object) -> GateAction:
    """A report of a PLC with a value in every field."""
    usual = gate_action_of(number, lap=2, report_id=f"{number:03d}", lot="L1", job_id="J1", mode=GateMode.CLEAN)
    return dataclasses.replace(usual, **changes)  # type: ignore[arg-type]  # the fields of a test's choice


def left(journal: Journal) -> list[tuple[Verdict, Decision | None]]:
    """The unrecorded verdicts of earlier processes, read back."""
    return journal.read(journal.unrecorded())


class JournalContract:
    """The tests of the suite. A test module subclasses it as `Test...`, so that pytest collects it."""

    async def test_unrecorded_of_a_new_journal_is_empty(self, box: Box) -> None:
        journal = await box.open()
        assert journal.unrecorded() == []
        assert journal.sightings(100) == []

    async def test_hold_lives_as_long_as_the_entry_of_its_verdict(self, box: Box) -> None:
        journal = await box.open()
        first, second = verdict_of_part(1), verdict_of_part(2)
        hold = HoldNote("gate1", HeldFor.CONSECUTIVE_REJECTS, 3)
        journal.append_verdict(first, None)
        journal.append_verdict(second, None, hold)
        assert journal.holds() == [], "of earlier runs only"
        journal = await box.kill()
        assert journal.holds() == [hold]
        journal.append_recorded([first.result_id])
        assert journal.holds() == [hold]
        journal.append_recorded([second.result_id])
        assert journal.holds() == []
        journal = await box.restart()
        assert journal.holds() == []

    async def test_unrecorded_after_kill_has_every_verdict_in_order(self, box: Box) -> None:
        journal = await box.open()
        verdicts = [verdict_of_part(number) for number in range(20)]
        decisions = [decision_for(verdict) if verdict.trigger_id else None for verdict in verdicts]
        for verdict, decision in zip(verdicts, decisions, strict=True):
            journal.append_verdict(verdict, decision)
        assert journal.unrecorded() == []  # these are this process's own
        assert left(await box.kill()) == list(zip(verdicts, decisions, strict=True))

    async def test_unrecorded_after_kill_tells_trigger_zero_from_a_part_in_flight(self, box: Box) -> None:
        journal = await box.open()
        zero, nameless = verdict_of_part(0), verdict_of_part(1, trigger_id=None)
        decided = [(verdict, decision_for(verdict)) for verdict in (zero, nameless)]
        for verdict, decision in decided:
            journal.append_verdict(verdict, decision)
        read = left(await box.kill())
        assert read == decided
        assert [decision.in_flight for _, decision in read if decision is not None] == [False, True]

    async def test_unrecorded_leaves_out_what_has_a_row(self, box: Box) -> None:
        journal = await box.open()
        verdicts = [verdict_of_part(number) for number in range(3)]
        for verdict in verdicts:
            journal.append_verdict(verdict, None)
        journal.append_recorded([verdicts[1].result_id])
        journal = await box.kill()
        assert [verdict for verdict, _ in left(journal)] == [verdicts[0], verdicts[2]]
        journal.append_recorded([verdicts[0].result_id])
        assert [verdict for verdict, _ in left(journal)] == [verdicts[2]]
        journal = await box.restart()
        assert [verdict for verdict, _ in left(journal)] == [verdicts[2]]

    async def test_append_verdict_again_replaces_the_earlier_entry(self, box: Box) -> None:
        journal = await box.open()
        first, other = verdict_of_part(1), verdict_of_part(2)
        last = dataclasses.replace(first, outcome=Outcome.REJECT)
        journal.append_verdict(first, decision_for(first))
        journal.append_verdict(other, None)
        journal.append_verdict(last, decision_for(last, Action.REJECT))
        journal = await box.kill()
        assert left(journal) == [(other, None), (last, decision_for(last, Action.REJECT))]

    @pytest.mark.parametrize("published", [True, False, None])
    async def test_unrecorded_knows_what_was_published(self, box: Box, published: bool | None) -> None:
        journal = await box.open()
        verdict = verdict_of_part(1)
        journal.append_verdict(verdict, decision_for(verdict))
        journal.append_published(verdict.result_id, published)
        (found, _) = left(await box.kill())[0]
        assert found.published is published

    async def test_notes_about_unknown_results_are_ignored(self, box: Box) -> None:
        journal = await box.open()
        journal.append_published(ResultId("nobody"), True)
        journal.append_recorded([ResultId("nobody")])
        journal.append_acknowledged([ResultId("nobody")])
        assert (await box.kill()).unrecorded() == []

    async def test_sightings_of_strong_frames_end_with_their_row(self, box: Box) -> None:
        journal = await box.open()
        first, second = verdict_of_part(1), verdict_of_part(2)
        journal.append_verdict(first, None)
        journal.append_verdict(second, None)
        journal.append_recorded([first.result_id])
        journal = await box.kill()
        (found,) = journal.sightings(100)
        assert found.result_id == found.key.result_id == second.result_id
        assert not found.acknowledged

    async def test_sightings_of_weak_frames_stay_until_acknowledged(self, box: Box) -> None:
        journal = await box.open()
        verdicts = [weak(number) for number in range(3)]
        for verdict in verdicts:
            journal.append_verdict(verdict, None)
        journal.append_recorded([verdict.result_id for verdict in verdicts])
        journal.append_acknowledged([verdicts[0].result_id])
        journal = await box.kill()
        assert journal.unrecorded() == []
        assert [sighting.result_id for sighting in journal.sightings(100)] == [v.result_id for v in verdicts[1:]]
        journal.append_acknowledged([verdicts[1].result_id])
        assert [sighting.result_id for sighting in journal.sightings(100)] == [verdicts[2].result_id]

    async def test_sightings_of_a_weak_frame_acknowledged_before_its_row_say_so(self, box: Box) -> None:
        journal = await box.open()
        journal.append_verdict(weak(1), None)
        journal.append_acknowledged([weak(1).result_id])
        (found,) = (await box.kill()).sightings(100)
        assert found.acknowledged

    async def test_sightings_are_the_newest_of_each_camera_in_order(self, box: Box) -> None:
        journal = await box.open()
        verdicts = [verdict_of_part(number, camera=f"cam{number % 2}") for number in range(8)]
        for verdict in verdicts:
            journal.append_verdict(verdict, None)
        journal = await box.kill()
        assert [sighting.result_id for sighting in journal.sightings(3)] == [each.result_id for each in verdicts[2:]]

    async def test_read_gives_what_has_no_row_in_the_order_asked_for(self, box: Box) -> None:
        journal = await box.open()
        verdicts = [verdict_of_part(number) for number in range(4)]
        for verdict in verdicts:
            journal.append_verdict(verdict, decision_for(verdict))
        journal.append_published(verdicts[3].result_id, True)
        journal.append_recorded([verdicts[1].result_id])
        asked = [verdicts[number].result_id for number in (3, 1, 0)]
        published = dataclasses.replace(verdicts[3], published=True)
        expected = [(published, decision_for(verdicts[3])), (verdicts[0], decision_for(verdicts[0]))]
        assert journal.read([*asked, ResultId("nobody")]) == expected
        assert 0 < journal.size_bytes < journal.limit_bytes

    async def test_sightings_leave_out_rows_without_a_frame(self, box: Box) -> None:
        journal = await box.open()
        journal.append_verdict(verdict_of_part(1, frame_sha256=None), None)
        assert journal.sightings(100) == []
        assert len((await box.kill()).unrecorded()) == 1

    async def test_append_attempt_counts_the_processes_it_ended(self, box: Box) -> None:
        journal = await box.open()
        assert journal.append_attempt("cam1", "a") == 0
        assert journal.append_attempt("cam1", "a") == 0  # an equal frame in flight beside it
        journal = await box.kill()
        assert journal.tries("cam1", "a") == 1
        assert journal.append_attempt("cam1", "a") == 1
        assert journal.tries("cam2", "a") == 0
        assert journal.append_attempt("cam2", "a") == 0
        journal = await box.kill()
        assert journal.append_attempt("cam1", "a") == 2
        assert journal.append_attempt("cam2", "a") == 1

    async def test_append_attempt_after_a_verdict_counts_anew(self, box: Box) -> None:
        journal = await box.open()
        verdict = verdict_of_part(1)
        sha256 = verdict.frame_sha256 or ""
        journal.append_attempt(verdict.camera, sha256)
        journal = await box.kill()
        journal.append_attempt(verdict.camera, sha256)
        journal.append_verdict(verdict, None)
        journal = await box.kill()
        assert journal.append_attempt(verdict.camera, sha256) == 0

    async def test_append_attempt_before_a_clean_end_does_not_count(self, box: Box) -> None:
        journal = await box.open()
        journal.append_attempt("cam1", "a")
        journal = await box.restart()
        assert journal.append_attempt("cam1", "a") == 0

    async def test_gate_actions_without_a_row_come_back_after_kill_in_order(self, box: Box) -> None:
        journal = await box.open()
        actions = [report(number) for number in range(20)]
        for action in actions:
            journal.append_gate_action(action)
            journal.append_verdict(verdict_of_part(int(action.report_id)), None)
        assert journal.unrecorded_gate_actions() == []  # these are this process's own
        assert journal.read_gate_actions([actions[3].report_id, "nobody"]) == [actions[3]]
        journal.append_gate_actions_recorded([actions[1].report_id, "nobody"])
        journal = await box.kill()
        left = journal.unrecorded_gate_actions()
        assert journal.read_gate_actions(left) == [actions[0], *actions[2:]]
        journal.append_gate_actions_recorded(left)
        assert journal.unrecorded_gate_actions() == []
        journal = await box.restart()
        assert journal.unrecorded_gate_actions() == []
        assert len(journal.unrecorded()) == 20

    async def test_gate_actions_that_name_no_part_stay_known_after_their_row(self, box: Box) -> None:
        journal = await box.open()
        nameless = [report(number, in_flight=True, packet_id=number) for number in range(3)]
        for action in (*nameless, report(9)):
            journal.append_gate_action(action)
        journal.append_gate_actions_recorded([action.report_id for action in (*nameless[:2], report(9))])
        journal = await box.kill()
        assert journal.read_gate_actions(journal.unrecorded_gate_actions()) == [nameless[2]]
        assert journal.nameless_gate_actions() == nameless

    async def test_sync_returns_and_loses_nothing(self, box: Box) -> None:
        journal = await box.open()
        journal.append_verdict(verdict_of_part(1), None)
        await journal.sync()
        await journal.sync()
        assert len((await box.kill()).unrecorded()) == 1


async def check_history(box: Box, steps: list[Step]) -> None:
    """Check that the next process finds the last entry of each verdict without a row, in order."""
    journal = await box.open()
    expected: dict[ResultId, tuple[Verdict, Decision | None]] = {}
    for at, (step, number) in enumerate(steps):
        verdict = (weak if number % 2 else verdict_of_part)(number)
        result_id = verdict.result_id
        match step:
            case "verdict":
                verdict = dataclasses.replace(verdict, score=float(at))
                journal.append_verdict(verdict, decision_for(verdict))
                expected.pop(result_id, None)
                expected[result_id] = (verdict, decision_for(verdict))
            case "published" | "unpublished":
                journal.append_published(result_id, step == "published")
                if result_id in expected:
                    kept, decision = expected[result_id]
                    expected[result_id] = (dataclasses.replace(kept, published=step == "published"), decision)
            case "recorded":
                journal.append_recorded([result_id])
                expected.pop(result_id, None)
            case "acknowledged":
                journal.append_acknowledged([result_id])
            case _:
                journal = await box.kill()
    assert left(await box.kill()) == list(expected.values())
