"""The part of the ledgers' contract suite about parts: reports of PLCs, the account of parts, owners of gates."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

from inspector.domain import (
    WAITED_ELSEWHERE,
    Ack,
    AckContradiction,
    Action,
    AgentPresence,
    Cause,
    Event,
    GateMode,
    GateOwner,
    GateState,
    GateTerms,
    Order,
    Outcome,
    PartCount,
    PartFacts,
    PartSelection,
    Seen,
    Severity,
)
from inspector.ports import OWNER_FORGOTTEN_S, Ledger
from inspector.testing.clock import START, FakeClock
from inspector.testing.ledger_suite import LedgerSuite, firsts, without_ids
from inspector.testing.samples import (
    command_of,
    decision_for,
    gate_action_of,
    verdict_of_part,
)


class LedgerPartsSuite(LedgerSuite):
    """The tests of what belongs to a part or to the owner of a gate; `ledger_contract` has the others."""

    async def test_record_gate_actions_keeps_one_row_for_each_part_in_order(self, ledger: Ledger) -> None:
        actions = [gate_action_of(1), gate_action_of(2, lap=1, done=0), gate_action_of(2), gate_action_of(2, epoch=2)]
        assert await ledger.record_gate_actions(actions) == []
        assert await ledger.record_gate_actions([]) == []
        assert (
            await ledger.record_gate_actions([dataclasses.replace(each, is_redelivered=True) for each in actions]) == []
        )
        assert firsts((await self.stored(ledger)).acks) == without_ids(actions)
        assert [row.repeats for row in (await self.stored(ledger)).acks] == [0] * 4

    async def test_has_epoch_knows_each_epoch_of_which_anything_is_stored(self, ledger: Ledger) -> None:
        part = verdict_of_part(1, epoch=2, gate="g1")
        await ledger.record([part], [(decision_for(part), True)], [])
        await ledger.record_gate_actions([gate_action_of(1, epoch=4)])
        await ledger.record_command(command_of("c1", orders=(Order("g1", "epoch", "6", "7"),)), [])
        assert [epoch for epoch in range(1, 9) if await ledger.has_epoch("g1", epoch)] == [2, 4, 6, 7]
        assert not await ledger.has_epoch("g2", 2)

    async def test_record_gate_actions_counts_a_repetition_once_for_the_agent_of_the_row(self, ledger: Ledger) -> None:
        first = gate_action_of(1, report_id="a1")
        again = gate_action_of(1, report_id="a2")
        await ledger.record_gate_actions([first, again])
        await ledger.record_gate_actions([again])  # after a death before the journal knew of the row
        await ledger.record_gate_actions([gate_action_of(1, report_id="b1", agent="agent2")])
        await ledger.record_gate_actions([gate_action_of(1, report_id="a3")])
        (row,) = (await self.stored(ledger)).acks
        assert (row.repeats, row.report_id) == (2, "a3")
        assert firsts([row]) == without_ids([first])

    async def test_last_sign_is_the_last_row_or_report_of_the_gate_before_a_time(self, ledger: Ledger) -> None:
        assert await ledger.last_sign("g1", START + timedelta(days=1)) is None
        times = [START + timedelta(seconds=second) for second in range(6)]
        rows = [verdict_of_part(number, gate="g1", received_at=times[at]) for number, at in ((1, 1), (2, 3))]
        await ledger.record([*rows, verdict_of_part(3, gate="g2", received_at=times[5])], [], [])
        await ledger.record_gate_actions([gate_action_of(1, received_at=times[2])])
        assert [await ledger.last_sign("g1", before) for before in times] == [None, None, *times[1:4], times[3]]

    async def test_parts_of_epochs_in_which_nothing_was_told_here_may_be_another_agents(self, ledger: Ledger) -> None:
        told, untold = verdict_of_part(1, gate="g1", epoch=2), verdict_of_part(2, gate="g1", epoch=3)
        waited = {
            "gate": "g1",
            "epoch": 5,
            "cause": Cause.LATE,
            "outcome": Outcome.UNJUDGED,
            "cause_detail": WAITED_ELSEWHERE,
        }
        rows = [told, untold, verdict_of_part(3, **waited), verdict_of_part(4, **waited)]
        await ledger.record(rows, [(decision_for(told), True), (decision_for(untold), False)], [])
        await ledger.record_gate_actions(
            [
                gate_action_of(1, epoch=2),
                gate_action_of(9, epoch=2),
                gate_action_of(9, epoch=3),
                gate_action_of(4, epoch=5),
            ]
        )
        terms = GateTerms("g1", elsewhere=((2, 3),))
        wanted = PartSelection(START + timedelta(hours=1), (terms,))
        parts = {(part.epoch, part.trigger_id): part.facts.is_elsewhere for part in await ledger.parts(wanted, 10)}
        assert parts == {(2, 1): False, (2, 9): False, (3, 2): True, (3, 9): True, (5, 3): True, (5, 4): False}
        assert sum(each.count for each in await ledger.count_parts(wanted) if each.facts.is_elsewhere) == 3

    async def test_gate_keeps_the_epochs_that_were_another_agents(self, ledger: Ledger) -> None:
        state = GateState("g1", 5, elsewhere=((2, 3),), watched=2)
        await ledger.record([], [], [state])
        assert (await ledger.load_gates(["g1"]))["g1"].elsewhere == ((2, 3),)
        await ledger.record([], [], [dataclasses.replace(state, elsewhere=((2, 4),), watched=3)])
        assert (await ledger.load_gates(["g1"]))["g1"].elsewhere == ((2, 4),)

    async def test_events_of_a_subject_are_those_of_the_kinds_since_a_time(self, ledger: Ledger) -> None:
        events = [
            Event(START + timedelta(seconds=second), kind, Severity.ALARM, subject, f"{second}")
            for second, (kind, subject) in enumerate([("a", "g1"), ("b", "g1"), ("c", "g1"), ("a", "g2"), ("a", "g1")])
        ]
        await ledger.record_events(events)
        assert await ledger.events_of("g1", {"a", "b"}, START) == [events[4], events[1], events[0]]
        assert await ledger.events_of("g1", {"a", "b"}, START + timedelta(seconds=1)) == [events[4], events[1]]
        assert await ledger.events_of("g3", {"a"}, START) == []

    async def test_record_gate_actions_keeps_each_contradiction_once_and_names_it(self, ledger: Ledger) -> None:
        first = gate_action_of(1, report_id="a1")
        passed = gate_action_of(1, report_id="a2", action=1)
        unseen = gate_action_of(1, report_id="b1", done=0, agent="agent2")
        assert await ledger.record_gate_actions([first, passed]) == [AckContradiction(passed, (2, 1, 1))]
        again = dataclasses.replace(passed, agent="agent2", report_id="b0")
        assert await ledger.record_gate_actions([again]) == []
        assert await ledger.record_gate_actions([unseen]) == [AckContradiction(unseen, (2, 1, 1))]
        (row,) = (await self.stored(ledger)).acks
        assert firsts([row]) == without_ids([first])
        assert [(other["act"], other["src"], other["done"]) for other in row.others] == [(1, 1, 1), (2, 1, 0)]
        assert [other["agent"] for other in row.others] == ["agent1", "agent2"]

    async def test_record_gate_actions_that_name_no_part_have_a_row_each_but_never_two(self, ledger: Ledger) -> None:
        verdict = verdict_of_part(1, trigger_id=None)
        actions = [
            gate_action_of(0, in_flight=True, report_id="a1", result_id=verdict.result_id, lot="L1", job_id="J1"),
            gate_action_of(0, in_flight=True, report_id="a2", mode=GateMode.CLEAN),
        ]
        await ledger.record_gate_actions(actions)
        await ledger.record_gate_actions(actions)
        assert firsts((await self.stored(ledger)).acks) == without_ids(actions)

    async def test_parts_joins_the_decision_of_trigger_zero_that_names_its_first_view(self, ledger: Ledger) -> None:
        left, right = (verdict_of_part(0, view=view, gate="g1") for view in ("left", "right"))
        await ledger.record([left], [], [])
        await ledger.record([right], [(decision_for(left), True)], [])
        await ledger.record_gate_actions([gate_action_of(0, action=1)])
        (part,) = await ledger.parts(PartSelection(START + timedelta(hours=1), (GateTerms("g1"),)), 100)
        assert (part.trigger_id, part.facts.decided) == (0, Action.PASS)

    async def test_parts_joins_rows_decision_and_report_of_each_part(self, ledger: Ledger) -> None:
        await _fill_parts(ledger)
        parts = await ledger.parts(SELECTED, 100)
        found = {part.trigger_id: (part.epoch, part.lap, part.lot, part.facts) for part in parts if part.gate == "g1"}
        reject, passed = Ack(2, 1, 1), Ack(1, 2, 0)
        assert found == {
            1: (1, 0, "L1", PartFacts(Action.REJECT, True, Seen.JUDGED, reject)),
            2: (1, 1, None, PartFacts(Action.PASS, False, Seen.JUDGED, passed)),
            3: (1, 0, None, PartFacts(None, False, Seen.UNJUDGED, passed, is_inspected=False)),
            4: (1, 0, None, PartFacts(None, False, Seen.NO_FRAME, None)),
            5: (1, 0, "L1", PartFacts(None, False, Seen.NO_FRAME, passed, is_young=True)),
        }
        assert [part.latest for part in parts] == sorted((part.latest for part in parts), reverse=True)
        assert len(await ledger.parts(SELECTED, 2)) == 2

    async def test_parts_of_a_gate_for_one_part_at_a_time_are_its_rows(self, ledger: Ledger) -> None:
        verdicts = [verdict_of_part(number, trigger_id=None, gate="solo") for number in range(2)]
        told = [(decision_for(verdict, gate="solo"), True) for verdict in verdicts]
        await ledger.record(verdicts, told, [])
        usual = {"gate": "solo", "in_flight": True, "action": 1}
        about = gate_action_of(0, report_id="a", result_id=verdicts[0].result_id, **usual)
        await ledger.record_gate_actions([about, gate_action_of(0, report_id="b", **usual)])
        parts = await ledger.parts(SELECTED, 100)
        ack = Ack(1, 1, 1)
        found = {(part.result_id, part.trigger_id): part.facts for part in parts}
        assert found[verdicts[0].result_id, None] == PartFacts(Action.PASS, True, Seen.JUDGED, ack)
        assert found[verdicts[1].result_id, None] == PartFacts(Action.PASS, True, Seen.JUDGED, None)
        assert [
            facts for (result_id, _), facts in found.items() if result_id not in {v.result_id for v in verdicts}
        ] == [PartFacts(None, False, Seen.NO_FRAME, ack)]

    async def test_parts_are_selected_by_gate_lot_and_time(self, ledger: Ledger) -> None:
        await _fill_parts(ledger)

        async def triggers(**changes: Any) -> list[int]:
            parts = await ledger.parts(dataclasses.replace(SELECTED, **changes), 100)
            counted = await ledger.count_parts(dataclasses.replace(SELECTED, **changes))
            assert sum(count.count for count in counted) == len(parts)
            return sorted(part.trigger_id or 0 for part in parts)

        assert await triggers(gate="g2") == [1]
        assert await triggers(gate="g9") == []
        assert await triggers(lot="L1") == [1, 5]
        assert await triggers(since=START + timedelta(seconds=30)) == [4, 5]
        assert await triggers(until=START + timedelta(seconds=30)) == [1, 1, 2, 3]
        assert await triggers(after=START + timedelta(seconds=1), through=START + timedelta(seconds=30)) == [2, 3]

    async def test_count_parts_is_by_gate_hour_and_facts(self, ledger: Ledger) -> None:
        await _fill_parts(ledger)
        later = [verdict_of_part(n, gate="g1", received_at=START + timedelta(hours=2)) for n in (21, 22)]
        await ledger.record(later, [(decision_for(each), True) for each in later], [])
        counts = await ledger.count_parts(dataclasses.replace(SELECTED, gate="g1", since=START + timedelta(hours=1)))
        facts = PartFacts(Action.PASS, True, Seen.JUDGED, None, is_young=True)
        assert counts == [PartCount("g1", f"{START + timedelta(hours=2):%Y-%m-%dT%H}", facts, 2)]

    async def test_record_owned_gate_stays_with_the_first_agent_that_lives(self, ledger: Ledger) -> None:
        assert await ledger.record_owned(presence_of("a"), {"g1": 3}, {}) == []
        assert await ledger.record_owned(presence_of("b"), {"g1": 1, "g2": 1}, {}) == [
            GateOwner("g1", "a", "session-a", 3, START)
        ]
        assert await ledger.record_owned(presence_of("a"), {"g1": 4}, {}) == []
        assert await ledger.record_owned(presence_of("b"), {"g1": 1}, {}) == [
            GateOwner("g1", "a", "session-a", 4, START)
        ]

    async def test_record_owned_gate_of_an_agent_that_is_known_to_be_dead_is_taken(self, ledger: Ledger) -> None:
        await ledger.record_owned(presence_of("a"), {"g1": 3}, {})
        assert await ledger.record_owned(presence_of("b"), {"g1": 3}, {"g1": {"session-a"}}) == []
        assert await ledger.record_owned(presence_of("a"), {"g1": 3}, {}) == [
            GateOwner("g1", "b", "session-b", 3, START)
        ]

    async def test_record_owned_gate_belongs_to_the_next_run_of_its_agent_at_once(self, ledger: Ledger) -> None:
        await ledger.record_owned(presence_of("a"), {"g1": 3}, {})
        again = dataclasses.replace(presence_of("a"), session="another run")
        assert await ledger.record_owned(again, {"g1": 3}, {}) == []

    async def test_record_owned_gate_that_was_given_up_is_free(self, ledger: Ledger) -> None:
        await ledger.record_owned(presence_of("a"), {"g1": 3, "g2": 1}, {})
        await ledger.record_owned(presence_of("a"), {"g2": 1}, {})
        assert await ledger.record_owned(presence_of("b"), {"g1": 3, "g2": 1}, {}) == [
            GateOwner("g2", "a", "session-a", 1, START)
        ]
        await ledger.record_owned(presence_of("a"), {}, {})
        assert await ledger.record_owned(presence_of("b"), {"g2": 1}, {}) == []

    async def test_record_owned_gate_of_an_agent_that_said_nothing_for_an_hour_is_taken(
        self, ledger: Ledger, clock: FakeClock
    ) -> None:
        await ledger.record_owned(presence_of("a"), {"g1": 3}, {})
        clock.advance(OWNER_FORGOTTEN_S - 1)
        assert len(await ledger.record_owned(presence_of("b"), {"g1": 3}, {})) == 1
        clock.advance(2)
        assert await ledger.record_owned(presence_of("b"), {"g1": 3}, {}) == []


SELECTED = PartSelection(
    START + timedelta(seconds=70), (GateTerms("g1", 10.0), GateTerms("g2", 10.0), GateTerms("solo", 10.0, is_solo=True))
)


async def _fill_parts(ledger: Ledger) -> None:
    """Five parts of gate g1, each another case, one of gate g2, a simulated one, and a frame without a trigger."""
    rejected = verdict_of_part(1, gate="g1", lot="L1", outcome=Outcome.REJECT, cause=Cause.ANOMALY)
    passed = verdict_of_part(2, gate="g1", lap=1, view="left")
    other_view = verdict_of_part(2, gate="g1", lap=1, view="right", outcome=Outcome.UNJUDGED, cause=Cause.LATE)
    bypassed = verdict_of_part(3, gate="g1", mode=GateMode.BYPASS, outcome=Outcome.UNINSPECTED, cause=Cause.BYPASS)
    at = START + timedelta(seconds=40)
    missed = verdict_of_part(
        4, gate="g1", frame_sha256=None, outcome=Outcome.UNINSPECTED, cause=Cause.NOT_RECEIVED, received_at=at
    )
    elsewhere = verdict_of_part(1, gate="g2", camera="cam9")
    no_parts = [verdict_of_part(8, gate="g1", simulated=True), verdict_of_part(9, gate="g1", trigger_id=None)]
    rows = [rejected, passed, other_view, bypassed, missed, elsewhere, *no_parts]
    told = [
        (decision_for(rejected, Action.REJECT), True),
        (decision_for(passed), False),
        (decision_for(elsewhere, gate="g2"), True),
    ]
    await ledger.record(rows, told, [])
    default = {"action": 1, "source": 2, "done": 0}
    await ledger.record_gate_actions(
        [
            gate_action_of(1),
            gate_action_of(2, lap=1, received_at=START + timedelta(seconds=20), **default),
            gate_action_of(3, received_at=START + timedelta(seconds=5), **default),
            gate_action_of(5, received_at=START + timedelta(seconds=65), lot="L1", **default),
        ]
    )


def presence_of(name: str) -> AgentPresence:
    """One run of the agent of this name."""
    return AgentPresence(name, f"identity-{name}", f"session-{name}", "inspector 0", "digest", START)
