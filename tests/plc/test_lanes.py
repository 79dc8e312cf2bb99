"""The plan of a whole plant: every kind of gate and camera, every fault in its place, the same for the same seed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.plc.contradictions import CLOCK_OFF, DONE_OTHERWISE, PASSED_UNSEEN, SECOND_REPORT, answered
from tests.plc.faults import parse_fault
from tests.plc.lanes import FAULTS, RUN_WITHOUT_TRIGGER, Lane, PlantPlan, plan_lanes
from tests.plc.whole_plant import LOOK_S, Outcome, main, until_answered

PLAN = PlantPlan(2000, 12.0, 150.0, 400.0, 40.0, frozenset(FAULTS))


def lane(name: str, plan: PlantPlan = PLAN) -> Lane:
    return next(each for each in plan_lanes(plan) if each.name == name)


def test_plan_has_every_kind_of_gate_camera_and_clock() -> None:
    lanes = plan_lanes(PLAN)
    assert {(each.station.match, each.station.clock) for each in lanes} == {
        ("trigger_id", "untrusted"),
        ("trigger_id", "trusted"),
        ("single_in_flight", "untrusted"),
        ("single_in_flight", "trusted"),
    }
    assert {each.camera.protocol for each in lanes} == {"5", "3.1.1"}
    assert sum(len(each.parts) for each in lanes) == 2000
    assert [each.name for each in lanes if not each.is_tellable] == ["clock-off"]


def test_plan_causes_each_fault_of_processes_within_the_run() -> None:
    faults = [parse_fault(text) for text in PLAN.incidents()]
    kinds = [fault.kind for fault in faults]
    assert sorted(kinds) == sorted(["kill-agent", "stop-agent", "stop-broker"] * 2 + ["restart-broker", "kill-broker"])
    assert all(0 < fault.at_s < PLAN.lasts_s for fault in faults)


def test_plan_without_faults_has_none_and_no_wrong_clock() -> None:
    plan = replace(PLAN, faults=frozenset())
    assert plan.incidents() == []
    for each in plan_lanes(plan):
        assert each.is_tellable
        assert not any((each.gate.contrary, each.gate.repeated, each.gate.doubted))
        assert all(part.frame_s is not None and part.is_numbered and not part.is_duplicated for part in each.parts)


def test_plan_with_faults_has_blind_doubled_and_unnumbered_frames_and_reports_that_contradict() -> None:
    five = lane("five")
    assert any(part.frame_s is None for part in five.parts)
    assert any(part.is_duplicated for part in five.parts)
    assert sum(not part.is_numbered for part in five.parts) == RUN_WITHOUT_TRIGGER
    assert five.gate.doubted
    assert five.gate.repeated
    assert not five.gate.repeated & five.gate.doubted
    assert lane("three").parts != five.parts


def test_plan_where_parts_would_meet_without_trigger_ids_is_refused() -> None:
    with pytest.raises(ValueError, match="single"):
        plan_lanes(replace(PLAN, rate=60.0))


@pytest.mark.parametrize("arguments", [["--faults", "flood"], ["--parts", "2"], ["--rate", "0"], ["--rate", "60"]])
def test_command_refuses_options_that_can_not_be(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--product", "disc"])
    assert end.value.code == 2


def event(kind: str, subject: str) -> dict[str, Any]:
    return {"kind": kind, "subject": subject}


def test_contradiction_is_answered_by_an_event_about_its_gate_or_camera_only() -> None:
    caused = [
        ("gate-a", "cam-a", SECOND_REPORT, 3),
        ("gate-b", "cam-b", SECOND_REPORT, 1),
        ("gate-b", "cam-b", CLOCK_OFF, 2),
        ("gate-b", "cam-b", PASSED_UNSEEN, 0),
    ]
    events = [event("ack_contradicts", "gate-a"), event("camera_clock_off", "cam-b"), event("ready", "gate-b")]
    told = answered(caused, events)
    assert [(each.gate, each.seen_as) for each in told] == [
        ("gate-a", ("ack_contradicts",)),
        ("gate-b", ()),
        ("gate-b", ("camera_clock_off",)),
    ]


def test_outcome_with_a_contradiction_without_event_is_broken() -> None:
    from tests.plc.account import Evidence, settle_account

    nothing = settle_account(Evidence(0, [], [], {}, {}, 0, [], []))
    unanswered = answered([("gate-a", "cam-a", DONE_OTHERWISE, 1)], [])
    outcome = Outcome({"a": nothing}, unanswered, [], {}, frozenset({"a"}), {})
    assert outcome.broken == ["contradictions_without_event"]
    assert replace(outcome, contradictions=[]).broken == []


@pytest.mark.parametrize(("looks_without", "slept"), [(0, 0), (3, 3), (99, 20)])
def test_run_ends_when_each_contradiction_has_its_event_or_the_wait_is_over(looks_without: int, slept: int) -> None:
    said = {"kind": "ack_other_than_told", "subject": "gate-a"}
    looks: list[float] = []

    def events() -> list[dict[str, Any]]:
        return [said] if len(looks) >= looks_without else []

    until_answered([("gate-a", "cam-a", DONE_OTHERWISE, 1)], events, 20 * LOOK_S, looks.append)
    assert len(looks) == slept
