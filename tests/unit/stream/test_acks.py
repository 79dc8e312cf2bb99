"""Which part a PLC's report is about, which deliveries are of a known report, and how often events are told."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from inspector.config.line_sections import GateSection
from inspector.domain import GateState, Severity
from inspector.stream.acks import DELIVERIES_KEPT, NoSuchPart, PartFinder, Redeliveries, is_doubtful
from inspector.stream.pauses import FIRST_PAUSE_S
from inspector.stream.pipeline.alarms import Alarms
from inspector.testing.samples import gate_action_of
from tests.unit.stream.test_pipeline import Plant, settings


def gate(**changes: Any) -> GateSection:
    return GateSection(name="g1", cameras=("cam1",), window_ms=100, **changes)


@pytest.mark.parametrize(
    ("reached", "trigger", "lap"),
    [(None, 9, 0), (3, 9, 0), (29, 1, 3), (31, 9, 2), (31, 1, 3), (34, 9, 3), (2, 9, 0)],
)
def test_part_finder_of_a_wrapped_trigger_takes_the_nearest_lap(reached: int | None, trigger: int, lap: int) -> None:
    state = GateState("g1", 1, reached)
    assert PartFinder().placed(gate_action_of(trigger), gate(trigger_modulus=10), state).lap == lap


def test_part_finder_of_an_earlier_epoch_remembers_how_far_it_came() -> None:
    finder = PartFinder()
    section = gate(trigger_modulus=10)
    finder.placed(gate_action_of(1), section, GateState("g1", 1, 31))
    assert finder.placed(gate_action_of(9), section, GateState("g1", 2, 0)).lap == 2
    assert finder.placed(gate_action_of(1, epoch=2), section, GateState("g1", 2, 0)).lap == 0


@pytest.mark.parametrize("wrong", [{"epoch": 0}, {"epoch": 3}, {"trigger_id": 10}])
def test_part_finder_of_a_part_that_cannot_be_raises(wrong: dict[str, int]) -> None:
    action = dataclasses.replace(gate_action_of(1), **wrong)
    with pytest.raises(NoSuchPart):
        PartFinder().placed(action, gate(trigger_modulus=10), GateState("g1", 2, 5))


def test_part_finder_of_trigger_zero_names_no_part_only_where_one_part_is_under_way() -> None:
    state = GateState("g1", 1, 5)
    solo = gate(match="single_in_flight")
    assert PartFinder().placed(gate_action_of(0), solo, state).in_flight
    assert not PartFinder().placed(gate_action_of(4), solo, state).in_flight
    assert not PartFinder().placed(gate_action_of(0), gate(), state).in_flight


@pytest.mark.parametrize(
    ("trigger", "epoch", "reached", "expected"),
    [(5, 1, 12, False), (8, 1, 12, True), (5, 2, 12, True), (5, 1, None, True), (5, 0, 12, False)],
)
def test_is_doubtful_of_a_report_beyond_what_the_gate_has_reached(
    trigger: int, epoch: int, reached: int | None, expected: bool
) -> None:
    action = gate_action_of(trigger, epoch=epoch)
    state = GateState("g1", 1, reached)
    assert is_doubtful(action, gate(trigger_modulus=10, max_gap=3), state) is expected
    assert is_doubtful(action, gate(), state) is (epoch > 1)


def nameless(packet_id: int, **changes: Any) -> Any:
    return gate_action_of(0, in_flight=True, packet_id=packet_id, **changes)


def test_redeliveries_knows_a_message_by_mark_packet_id_and_content() -> None:
    known = Redeliveries([nameless(1), nameless(2)])
    assert known.is_known(nameless(1, is_redelivered=True))
    assert not known.is_known(nameless(1))
    assert not known.is_known(nameless(3, is_redelivered=True))
    assert not known.is_known(nameless(2, is_redelivered=True, done=0))
    known.acknowledged([1])
    assert known.is_known(nameless(1, is_redelivered=True)), "the broker may not have got the acknowledgement"


def test_redeliveries_of_a_broker_that_reuses_packet_ids_never_take_a_new_message_for_a_known_one() -> None:
    known = Redeliveries()
    for _ in range(2):
        known.note(nameless(1))
    assert known.is_known(nameless(1, is_redelivered=True))
    known.acknowledged([1])
    assert not known.is_known(nameless(1, is_redelivered=True))


def test_redeliveries_forgets_old_packet_ids() -> None:
    known = Redeliveries()
    for packet_id in range(1, DELIVERIES_KEPT + 2):
        known.note(nameless(packet_id))
    assert not known.is_known(nameless(1, is_redelivered=True))
    assert known.is_known(nameless(2, is_redelivered=True))


def contradicted(count: int, cases: str) -> str:
    return f"{count} contradicted: {cases}"


def test_alarms_that_waited_through_a_long_stop_of_the_agent_are_told() -> None:
    plant = Plant(settings())
    now_ns = [0]
    shared = plant.pipeline()._shared
    shared.clock = type("Clock", (), {"now": plant.clock.now, "monotonic_ns": lambda _: now_ns[0]})()
    alarms = Alarms(shared)
    for case in ("part 1", "part 2"):
        alarms.tell("ack_contradicts", Severity.ALARM, "gate", case)
    now_ns[0] = int(20 * FIRST_PAUSE_S * 1e9)  # without a look in between
    alarms.tell("ack_contradicts", Severity.ALARM, "gate", "part 3")
    assert [event.detail for event in plant.telemetry.events] == [
        "part 1",
        "since the last such event: part 2; part 3",
    ]


def test_alarms_tell_the_first_at_once_and_the_rest_together_after_a_pause() -> None:
    plant = Plant(settings())
    now_ns = [0]
    shared = plant.pipeline()._shared
    shared.clock = type("Clock", (), {"now": plant.clock.now, "monotonic_ns": lambda _: now_ns[0]})()
    alarms = Alarms(shared)
    for number in range(5):
        alarms.tell("ack_contradicts", Severity.ALARM, "gate", f"part {number}", sentence=contradicted)
    alarms.tell("ack_contradicts", Severity.ALARM, "other", "a part")
    alarms.tell_due()
    now_ns[0] = int(FIRST_PAUSE_S * 1e9)
    alarms.tell_due()
    for _ in range(2):
        alarms.tell("ack_contradicts", Severity.ALARM, "gate", "part 5", sentence=contradicted)
    now_ns[0] += int(FIRST_PAUSE_S * 1e9)
    alarms.tell_due()
    told = [(event.subject, event.detail) for event in plant.telemetry.events]
    assert told == [
        ("gate", "1 contradicted: part 0"),
        ("other", "a part"),
        ("gate", "since the last such event: 4 contradicted: part 1; part 2; part 3; part 4"),
    ], "the pause grows while they keep coming"
    alarms.tell_due(is_last=True)
    assert plant.telemetry.events[-1].detail == "since the last such event: 2 contradicted: part 5"
