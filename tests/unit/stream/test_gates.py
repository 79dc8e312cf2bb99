"""A gate is told once, in time, the worst that is known; it never hears that a part got better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from inspector.config.config import Config
from inspector.domain import (
    Action,
    Admitted,
    Cause,
    Decision,
    Delivery,
    FrameFacts,
    GateMode,
    Outcome,
    Standing,
    Verdict,
)
from inspector.stream.admission import Admission, Arrival
from inspector.stream.deciding import Policy, rule
from inspector.stream.gates import Gate
from inspector.stream.pipeline.verdicts import Signature, frame_verdict
from tests.unit.stream.conftest import START, admit

MS = 1_000_000
SIGNATURE = Signature("agent", "test", "digest")
CAUSE_OF = {Action.PASS: Cause.OK, Action.REJECT: Cause.ANOMALY, Action.QUARANTINE: Cause.UNKNOWN_PRODUCT}


class Line:
    """One gate and the frames that come to it."""

    def __init__(self, config: Config, gate: str, make: Callable[..., Delivery]) -> None:
        self.admission = Admission(config)
        self.admission.assign({}, {})
        self.gate = Gate(next(section for section in config.gate if section.name == gate))
        self.make = make

    def frame(self, camera: str, trigger: int | None = None, **more: object) -> Admitted:
        headers = {} if trigger is None else {"trigger_id": trigger}
        arrival = admit(self.admission, self.make(camera, headers={**headers, **more.pop("headers", {})}, **more))  # type: ignore[dict-item]
        assert isinstance(arrival, Arrival)
        self.gate.open(arrival.admitted)
        return arrival.admitted

    def verdict(self, admitted: Admitted, action: Action) -> Verdict:
        policy = Policy(Action.QUARANTINE, Action.QUARANTINE, Action.REJECT, Action.QUARANTINE)
        ruling = rule(CAUSE_OF[action], policy)
        return frame_verdict(FrameFacts(admitted), ruling, SIGNATURE, self.gate.name, START, 1.0)

    def judge(self, admitted: Admitted, action: Action) -> Action | None:
        decision = self.gate.judged(admitted, self.verdict(admitted, action))
        return decision.action if decision else None


@pytest.fixture
def pair(gated: Config, delivery: Callable[..., Delivery]) -> Line:
    return Line(gated, "pair", delivery)


@pytest.fixture
def single(gated: Config, delivery: Callable[..., Delivery]) -> Line:
    return Line(gated, "single", delivery)


def test_judged_single_view_is_told_at_once(single: Line) -> None:
    assert single.judge(single.frame("solo", 7), Action.PASS) is Action.PASS


def test_judged_pass_waits_for_the_other_view(pair: Line) -> None:
    left, right = pair.frame("left", 7), pair.frame("right", 7, payload=b"other")
    assert pair.judge(left, Action.PASS) is None
    assert pair.judge(right, Action.PASS) is Action.PASS


def test_judged_reject_goes_out_with_the_first_view_and_stays(pair: Line) -> None:
    left, right = pair.frame("left", 7), pair.frame("right", 7, payload=b"other")
    assert pair.judge(left, Action.REJECT) is Action.REJECT
    assert pair.judge(right, Action.PASS) is None


def test_judged_worst_of_two_views_counts(pair: Line) -> None:
    left, right = pair.frame("left", 7), pair.frame("right", 7, payload=b"other")
    assert pair.judge(left, Action.QUARANTINE) is None
    assert pair.judge(right, Action.PASS) is Action.QUARANTINE


def test_judged_same_trigger_again_only_gets_worse(single: Line) -> None:
    assert single.judge(single.frame("solo", 7), Action.PASS) is Action.PASS
    assert single.judge(single.frame("solo", 7, payload=b"b"), Action.PASS) is None
    assert single.judge(single.frame("solo", 7, payload=b"c"), Action.REJECT) is Action.REJECT
    assert single.judge(single.frame("solo", 7, payload=b"d"), Action.PASS) is None


def test_judged_without_trigger_single_in_flight_is_part_zero_each_its_own(single: Line) -> None:
    first, second = single.frame("solo"), single.frame("solo")
    decision = single.gate.judged(first, single.verdict(first, Action.REJECT))
    assert decision is not None
    assert (decision.trigger_id, decision.in_flight) == (0, True)
    assert single.judge(second, Action.PASS) is Action.PASS


def test_judged_trigger_zero_is_a_part_with_a_name(pair: Line) -> None:
    left, right = pair.frame("left", 0), pair.frame("right", 0, payload=b"other")
    assert pair.judge(left, Action.PASS) is None
    decision = pair.gate.judged(right, pair.verdict(right, Action.PASS))
    assert decision is not None
    assert (decision.trigger_id, decision.in_flight) == (0, False)


@pytest.mark.parametrize("more", [{"backlog": True}, {"headers": {"simulated": "true"}}])
def test_judged_backlog_and_simulated_are_never_told(single: Line, more: dict[str, object]) -> None:
    assert single.judge(single.frame("solo", 7, **more), Action.REJECT) is None


def test_judged_bypass_is_not_told_and_misses_no_view(single: Line) -> None:
    admitted = single.frame("solo", 7, at_ms=0)
    bypassed = replace(single.verdict(admitted, Action.PASS), cause=Cause.BYPASS, action=Action.NONE)
    assert single.gate.judged(admitted, bypassed) is None
    assert single.gate.expire(10_000 * MS) == []


def test_expire_names_views_that_never_came_once_and_before_the_time_to_act(pair: Line) -> None:
    left = pair.frame("left", 7, at_ms=0)
    pair.judge(left, Action.PASS)
    assert pair.gate.next_expiry_ns() == 45 * MS, "the reserve for publishing is kept"
    assert pair.gate.expire(44 * MS) == []
    missing = pair.gate.expire(45 * MS)
    assert [(view.camera, view.part.number) for view in missing] == [("right", 7)]
    assert pair.gate.expire(46 * MS) == []
    absent = replace(pair.verdict(left, Action.QUARANTINE), camera="right", act_before=START)
    decision = pair.gate.missing_view(missing[0].part, absent)
    assert decision is not None
    assert decision.action is Action.QUARANTINE
    assert missing[0].act_before == decision.act_before == left.act_before, (
        "the part's time, not the moment it was told"
    )


def test_judged_decision_has_the_time_of_its_part_and_not_of_the_later_view(pair: Line) -> None:
    left, right = pair.frame("left", 7, at_ms=0), pair.frame("right", 7, at_ms=20, payload=b"other")
    pair.judge(left, Action.PASS)
    later = replace(pair.verdict(right, Action.QUARANTINE), act_before=START + timedelta(milliseconds=70))
    decision = pair.gate.judged(right, later)
    assert decision is not None
    assert (decision.act_before, decision.act_before_ns) == (left.act_before, left.act_before_ns)


def test_pass_of_a_view_that_was_not_judged_says_so_for_the_part(pair: Line) -> None:
    """With `on_late = "pass"`."""
    left, right = pair.frame("left", 7), pair.frame("right", 7, payload=b"b")
    assert pair.judge(left, Action.PASS) is None
    unjudged = replace(pair.verdict(right, Action.PASS), outcome=Outcome.UNJUDGED, cause=Cause.LATE)
    decision = pair.gate.judged(right, unjudged)
    assert decision is not None
    assert (decision.action, decision.cause, decision.result_id) == (Action.PASS, Cause.LATE, unjudged.result_id)


def test_part_has_the_earliest_time_of_its_views(pair: Line) -> None:
    late, early = pair.frame("left", 7, at_ms=80), pair.frame("right", 7, payload=b"b", at_ms=0)
    assert late.act_before_ns is not None
    assert early.act_before_ns == late.act_before_ns - 80 * MS
    decide_by_ns = pair.gate.decide_by_ns(early)
    assert pair.gate.next_expiry_ns() == decide_by_ns
    assert pair.judge(late, Action.PASS) is None
    decision = pair.gate.judged(early, pair.verdict(early, Action.PASS))
    assert decision is not None
    assert (decision.act_before, decision.act_before_ns) == (early.act_before, early.act_before_ns)


def test_open_second_view_has_to_keep_the_first_ones_time(pair: Line) -> None:
    pair.frame("left", 7, at_ms=0)
    arrival = admit(pair.admission, pair.make("right", headers={"trigger_id": 7}, at_ms=20))
    assert isinstance(arrival, Arrival)
    assert pair.gate.open(arrival.admitted) == 45 * MS


def test_open_part_that_is_decided_sets_no_pace_for_what_comes_of_it_later(single: Line) -> None:
    single.judge(single.frame("solo", 7, at_ms=0), Action.PASS)
    arrival = admit(single.admission, single.make("solo", payload=b"other", headers={"trigger_id": 7}, at_ms=3000))
    assert isinstance(arrival, Arrival)
    assert single.gate.open(arrival.admitted) == 3045 * MS


def test_forget_epochs_drops_old_parts(single: Line) -> None:
    admitted = single.frame("solo", 7)
    single.gate.forget_epochs_before(2)
    assert single.judge(admitted, Action.REJECT) is None


def test_judged_part_of_which_one_view_was_bypassed_is_never_told(pair: Line) -> None:
    left = pair.frame("left", 7)
    bypassed = replace(pair.verdict(left, Action.PASS), cause=Cause.BYPASS, action=Action.NONE)
    assert pair.gate.judged(left, bypassed) is None
    assert pair.judge(pair.frame("right", 7), Action.REJECT) is None
    assert pair.gate.expire(2**62) == []


def test_judged_reference_part_is_never_told(single: Line) -> None:
    admitted = replace(single.frame("solo", 7), standing=Standing(GateMode.GOLDEN))
    assert single.gate.open(admitted) is None
    assert single.judge(admitted, Action.REJECT) is None


def test_forget_epochs_before_drops_parts_and_decisions_on_their_way(single: Line) -> None:
    decided = single.frame("solo", 7)
    decision = single.gate.judged(decided, single.verdict(decided, Action.PASS))
    assert isinstance(decision, Decision)
    undecided = single.frame("solo", 8)
    single.gate.forget_epochs_before(2)
    assert single.gate.is_dropped(decision)
    assert single.judge(undecided, Action.REJECT) is None
    assert single.gate.next_expiry_ns() is None
    assert not single.gate.is_dropped(replace(decision, epoch=2))
