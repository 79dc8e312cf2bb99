"""A verdict repeats what was found out about its frame: the version it was routed to, the score, the ruling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import pytest

from inspector.config.config import Config
from inspector.domain import Delivery, FrameFacts, RouteFacts, Scored, Verdict
from inspector.stream.admission import Admission, Arrival
from inspector.stream.deciding import Policy, decide
from inspector.stream.pipeline.verdicts import Signature, frame_verdict, with_late_score
from tests.unit.stream.conftest import START, admit

ROUTE = RouteFacts("alpha", 7, "digest", threshold=2.0, confidence=0.75, route_ms=3.0)
SCORED = Scored(1.0, 2.5, 0.4, embed_ms=5.0, score_ms=6.0, engine="test")


@pytest.fixture
def verdict_of_facts(gated: Config, delivery: Callable[..., Delivery]) -> Callable[..., Verdict]:
    admission = Admission(gated)
    admission.assign({}, {})
    arrival = admit(admission, delivery("free", headers={"frame_id": "f"}))
    assert isinstance(arrival, Arrival)

    def make(route: RouteFacts | None, scored: Scored | None, *, late: Scored | None = None) -> Verdict:
        facts = FrameFacts(arrival.admitted, decode_ms=1.5, lineup_revision="r3", route=route, scored=scored)
        standing = arrival.admitted.standing
        ruling = decide(facts, Policy.of(gated.camera_named("free")), standing.mode, is_late=False)
        told = frame_verdict(facts, ruling, Signature("agent", "test", "config"), None, START, 9.0)
        return told if late is None else with_late_score(told, FrameFacts(arrival.admitted, scored=late))

    return make


@pytest.mark.parametrize("field", fields(RouteFacts), ids=lambda field: field.name)
def test_frame_verdict_names_the_version_that_the_frame_was_routed_to(
    verdict_of_facts: Callable[..., Verdict], field: object
) -> None:
    name = field.name  # type: ignore[attr-defined]  # a field of a dataclass
    column = {"confidence": "route_confidence"}.get(name, name)
    assert getattr(verdict_of_facts(ROUTE, None), column) == getattr(ROUTE, name)
    assert getattr(verdict_of_facts(None, None), column) is None


def test_frame_verdict_takes_the_threshold_that_the_score_was_held_against(
    verdict_of_facts: Callable[..., Verdict],
) -> None:
    verdict = verdict_of_facts(ROUTE, SCORED)
    assert (verdict.score, verdict.threshold, verdict.level, verdict.engine) == (1.0, 2.5, 0.4, "test")
    assert (verdict.decode_ms, verdict.registry_revision, verdict.total_ms) == (1.5, "r3", 9.0)


def test_with_late_score_adds_the_score_and_leaves_what_was_told(verdict_of_facts: Callable[..., Verdict]) -> None:
    told, late = verdict_of_facts(ROUTE, None), verdict_of_facts(ROUTE, None, late=SCORED)
    assert (late.score, late.threshold, late.score_ms) == (1.0, 2.5, 6.0)
    assert (late.outcome, late.cause, late.action, late.product) == (told.outcome, told.cause, told.action, "alpha")
