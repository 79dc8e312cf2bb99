"""The contract's table of causes, row by row, and no way to a pass but a whole, timely, known score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.config.config import Config
from inspector.config.line_sections import CameraSection
from inspector.config.loading import parse
from inspector.domain import (
    Action,
    Admitted,
    Cause,
    Delivery,
    Failure,
    FrameFacts,
    GateMode,
    Outcome,
    Position,
    RouteFacts,
    Scored,
)
from inspector.stream.admission import Admission, Arrival
from inspector.stream.deciding import OUTCOME_OF, Policy, decide, rule
from tests.unit.stream.conftest import START, admit

POLICY = Policy(Action.QUARANTINE, Action.REJECT, Action.PASS, Action.PASS)


@pytest.fixture
def admitted(gated: Config, delivery: Callable[..., Delivery]) -> Admitted:
    admission = Admission(gated)
    admission.assign({}, {})
    arrival = admit(admission, delivery("free"))
    assert isinstance(arrival, Arrival)
    return arrival.admitted


def route_to(product: str) -> RouteFacts:
    return RouteFacts(product, 1, "digest", threshold=1.0, confidence=1.0, route_ms=0.1)


def judged(admitted: Admitted, score: float, product: str = "alpha") -> FrameFacts:
    return FrameFacts(admitted, route=route_to(product), scored=Scored(score, 1.0, score))


def test_outcome_table_covers_every_cause() -> None:
    assert set(OUTCOME_OF) == set(Cause)


@pytest.mark.parametrize(
    ("cause", "outcome", "action"),
    [
        (Cause.OK, Outcome.PASS, Action.PASS),
        (Cause.ANOMALY, Outcome.REJECT, Action.REJECT),
        (Cause.UNKNOWN_PRODUCT, Outcome.UNJUDGED, Action.QUARANTINE),
        (Cause.WRONG_PRODUCT, Outcome.REJECT, Action.PASS),
        (Cause.UNDECODABLE, Outcome.UNJUDGED, Action.QUARANTINE),
        (Cause.SCORER_ERROR, Outcome.UNJUDGED, Action.QUARANTINE),
        (Cause.NO_TRIGGER_ID, Outcome.UNJUDGED, Action.QUARANTINE),
        (Cause.NOT_RELEASED, Outcome.UNJUDGED, Action.QUARANTINE),
        (Cause.FRAME_HEALTH, Outcome.UNJUDGED, Action.PASS),
        (Cause.LATE, Outcome.UNJUDGED, Action.REJECT),
        (Cause.OVERLOAD, Outcome.UNJUDGED, Action.REJECT),
        (Cause.VIEW_MISSING, Outcome.UNJUDGED, Action.REJECT),
        (Cause.NOT_RECEIVED, Outcome.UNINSPECTED, Action.NONE),
        (Cause.BYPASS, Outcome.UNINSPECTED, Action.NONE),
    ],
)
def test_rule_follows_the_contract(cause: Cause, outcome: Outcome, action: Action) -> None:
    ruling = rule(cause, POLICY)
    assert (ruling.outcome, ruling.action) == (outcome, action)


def test_policy_unset_falls_back_to_unjudged_and_reject() -> None:
    policy = Policy.of(CameraSection(name="c", on_unjudged=Action.QUARANTINE))
    assert (policy.on_late, policy.on_frame_health, policy.on_wrong_product) == (
        Action.QUARANTINE,
        Action.QUARANTINE,
        Action.REJECT,
    )


def test_decide_threshold_itself_passes_and_anything_above_rejects(admitted: Admitted) -> None:
    assert decide(judged(admitted, 1.0), POLICY, GateMode.AUTO, False).cause is Cause.OK
    assert decide(judged(admitted, 1.0000001), POLICY, GateMode.AUTO, False).cause is Cause.ANOMALY


def test_decide_score_that_is_no_number_never_passes(admitted: Admitted) -> None:
    assert decide(judged(admitted, float("nan")), POLICY, GateMode.AUTO, False).cause is Cause.SCORER_ERROR


def test_decide_late_good_score_is_unjudged(admitted: Admitted) -> None:
    assert decide(judged(admitted, 0.1), POLICY, GateMode.AUTO, True).cause is Cause.LATE


def test_decide_late_unknown_product_is_late_but_undecodable_stays(admitted: Admitted) -> None:
    unknown = FrameFacts(admitted, failure=Failure(Cause.UNKNOWN_PRODUCT, ""))
    broken = FrameFacts(admitted, failure=Failure(Cause.UNDECODABLE, ""))
    assert decide(unknown, POLICY, GateMode.AUTO, True).cause is Cause.LATE
    assert decide(broken, POLICY, GateMode.AUTO, True).cause is Cause.UNDECODABLE


def test_decide_other_product_than_the_camera_expects_is_wrong(admitted: Admitted) -> None:
    expects_beta = Policy(Action.REJECT, Action.REJECT, Action.REJECT, Action.REJECT, expected_product="beta")
    assert decide(judged(admitted, 0.1), expects_beta, GateMode.AUTO, False).cause is Cause.WRONG_PRODUCT


@pytest.mark.parametrize(("expected", "claimed"), [(None, "beta"), ("alpha", "beta"), ("beta", "alpha")])
def test_decide_each_product_that_is_announced_is_checked(
    admitted: Admitted, expected: str | None, claimed: str
) -> None:
    policy = Policy(Action.REJECT, Action.REJECT, Action.REJECT, Action.REJECT, expected_product=expected)
    facts = judged(replace(admitted, claimed_product=claimed), 0.1)
    assert decide(facts, policy, GateMode.AUTO, False).cause is Cause.WRONG_PRODUCT


def test_decide_bypass_inspects_nothing(admitted: Admitted) -> None:
    ruling = decide(judged(admitted, 9.0), POLICY, GateMode.BYPASS, False)
    assert (ruling.outcome, ruling.action) == (Outcome.UNINSPECTED, Action.NONE)


@given(
    score=st.floats(),
    mode=st.sampled_from(GateMode),
    is_late=st.booleans(),
    failure=st.one_of(st.none(), st.sampled_from(Cause)),
    has_route=st.booleans(),
)
def test_decide_is_total_and_passes_only_a_timely_score_within_the_threshold(
    score: float, mode: GateMode, is_late: bool, failure: Cause | None, has_route: bool
) -> None:
    admission = Admission(parse({"camera": [{"name": "c", "on_unjudged": "reject"}]}, None))
    admission.assign({}, {})
    arrival = admit(admission, Delivery(Position("s", 1, 1), "c", b"x", {}, START, 0))
    assert isinstance(arrival, Arrival)
    facts = FrameFacts(
        arrival.admitted,
        route=route_to("alpha") if has_route else None,
        scored=Scored(score, 1.0, score),
        failure=None if failure is None else Failure(failure, "x"),
    )
    ruling = decide(facts, POLICY, mode, is_late)
    if ruling.outcome is Outcome.PASS and failure is not Cause.OK:
        assert score <= 1.0
        assert has_route
        assert not is_late
        assert mode in (GateMode.AUTO, GateMode.GOLDEN)
