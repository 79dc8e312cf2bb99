"""Shadow versions score after live frames, never before one, and their errors stay their own."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import pytest

from inspector.domain import Action, Cause, Failure, Frame, Outcome, ProductVersion, Routed
from inspector.stream.pipeline import shadowing
from inspector.stream.shadow_line import ShadowLine
from inspector.testing.clock import START
from inspector.testing.lineup import FakeLineup, FakeShadows
from tests.unit.stream.test_pipeline import BAD, FREE, GOOD, Plant, settings, until


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine must not make live frames go on beside a shadow pass that a test holds up."""
    monkeypatch.setattr(shadowing, "LONGEST_WAIT_S", 60.0)


SHADOW = ProductVersion(
    product="alpha",
    version=2,
    head="prototype",
    profile="standard",
    digest="digest-shadow",
    size_bytes=1,
    created_at=START,
    created_by="test",
    manifest={},
    threshold=1.0,
    is_shadow=True,
)


def with_shadow(plant: Plant, **values: object) -> FakeShadows:
    shadows = FakeShadows({"alpha": SHADOW}, **values)  # type: ignore[arg-type]  # fields of the fake
    plant.lineup = replace(plant.lineup, shadows=shadows)
    return shadows


async def test_offer_each_judged_frame_has_a_shadow_result_and_the_gate_hears_of_none() -> None:
    plant = Plant(settings())
    with_shadow(plant, more=1.0)
    async with plant.running():
        plant.push(GOOD, 1)
        plant.push(BAD, 2)
        await until(lambda: len(plant.ledger.shadow_results) == 2)
    assert [told.action for told in plant.told] == [Action.PASS, Action.REJECT]
    assert [(row.outcome, row.product_version, row.shadow) for row in plant.rows()] == [
        (Outcome.PASS, 1, False),
        (Outcome.REJECT, 1, False),
    ]
    by_result = {result.result_id: result for result in plant.ledger.shadow_results}
    assert set(by_result) == {row.result_id for row in plant.rows()}
    for row in plant.rows():
        result = by_result[row.result_id]
        assert row.level is not None
        assert result.level == pytest.approx(row.level + 1.0)
        assert (result.outcome, result.threshold) == (Outcome.REJECT, 1.0)
        assert (result.product, result.product_version, result.artifact_digest) == ("alpha", 2, "digest-shadow")


async def test_keep_a_flip_is_a_reason_to_keep_the_picture() -> None:
    plant = Plant(FREE)
    with_shadow(plant, more=1.0)
    async with plant.running():
        plant.push(GOOD)
        plant.push(BAD)
        await until(lambda: len(plant.ledger.shadow_results) == 2)
    flips = [picture for picture in plant.images.pictures if picture.is_flip]
    assert [(flip.payload, flip.verdict.outcome) for flip in flips] == [(GOOD, Outcome.PASS)]


async def test_score_next_live_frames_that_come_go_before_every_waiting_shadow_frame() -> None:
    """One shadow pass is under way, others wait; live frames come: all of them are scored before the next shadow."""
    plant = Plant(FREE)
    plant.lineup = replace(plant.lineup, is_batched=True)
    is_under_way, may_go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def shadow_begins() -> None:
        order.append("shadow")
        is_under_way.set()
        may_go_on.wait(10)

    with_shadow(plant, before=shadow_begins)
    pipeline = plant.pipeline(lambda stage: order.append("live") if stage == "scored" else None)
    plant.pipeline = lambda *_: pipeline  # type: ignore[method-assign]  # the one with the note of its order
    async with plant.running():
        plant.push(GOOD)
        await until(is_under_way.is_set)
        for _ in range(3):
            plant.push(GOOD)
        await until(lambda: len(pipeline._shared.batcher) == 3)
        may_go_on.set()
        await until(lambda: len(plant.ledger.shadow_results) == 4)
    assert order == ["live", "shadow", "live", "live", "live", "shadow", "shadow", "shadow"]


async def test_score_next_waits_while_live_frames_are_decoded() -> None:
    plant = Plant(FREE)
    shadows = with_shadow(plant)
    pipeline = plant.pipeline()
    plant.pipeline = lambda *_: pipeline  # type: ignore[method-assign]  # its state is looked at
    busy: list[bool] = []
    shadows.before = lambda: busy.append(pipeline._shared.decoding > 0)
    async with plant.running():
        plant.push(GOOD)
        plant.push(b"hang")
        await until(lambda: len(plant.ledger.rows) == 2 and len(plant.ledger.shadow_results) == 1)
    assert busy == [False]


async def test_offer_beyond_the_bound_is_left_out_and_counted() -> None:
    plant = Plant(FREE)
    plant.lineup = replace(plant.lineup, is_batched=True)
    is_under_way, may_go_on = threading.Event(), threading.Event()

    def shadow_begins() -> None:
        is_under_way.set()
        may_go_on.wait(10)

    with_shadow(plant, before=shadow_begins)
    pipeline = plant.pipeline()
    pipeline._shadowing._line = ShadowLine(most_frames=1)
    plant.pipeline = lambda *_: pipeline  # type: ignore[method-assign]  # its line is shorter
    async with plant.running():
        plant.push(GOOD)
        await until(is_under_way.is_set)
        for _ in range(3):
            plant.push(GOOD)
        await until(lambda: len(pipeline._shared.batcher) == 3)
        may_go_on.set()
        await plant.has_rows(4)
        await until(lambda: len(plant.ledger.shadow_results) == 2)
    assert plant.telemetry.counters["shadow_frames_left_out"] == 2
    assert plant.telemetry.values["shadow_frames_left_out"] == 2


async def test_score_next_shadow_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadowing, "LONGEST_WAIT_S", 0.01)
    plant = Plant(settings())
    is_under_way, may_go_on = threading.Event(), threading.Event()

    def hang() -> None:
        is_under_way.set()
        may_go_on.wait(10)

    shadows = with_shadow(plant, before=hang)
    async with plant.running():
        plant.push(GOOD, 1)
        await until(is_under_way.is_set)
        for trigger in range(2, 6):
            plant.push(GOOD, trigger)
        await plant.has_rows(5)
        assert [row.published for row in plant.rows()] == [True] * 5
        assert plant.ledger.shadow_results == []
        assert shadows.scored == [], "no other frame beside the one that hangs"
        await until(lambda: "shadow_slow" in plant.telemetry.kinds())
        may_go_on.set()
        await until(lambda: len(plant.ledger.shadow_results) == 5)
    assert plant.telemetry.kinds().count("shadow_slow") == 1


async def test_patience_is_half_of_the_smallest_time_to_spare() -> None:
    pipeline = Plant(settings()).pipeline()
    assert pipeline._shadowing._patience_s() == shadowing.LONGEST_WAIT_S
    pipeline._shared.headroom.note(60_000_000)
    pipeline._shared.headroom.note(100_000_000)
    assert pipeline._shadowing._patience_s() == pytest.approx(0.03)


async def test_score_failure_of_a_shadow_is_one_event_and_the_live_road_goes_on() -> None:
    plant = Plant(settings())

    def fail() -> None:
        raise RuntimeError("the head is broken")

    with_shadow(plant, before=fail)
    async with plant.running():
        for trigger in range(1, 4):
            plant.push(GOOD, trigger)
        await until(lambda: len(plant.ledger.shadow_results) == 3)
    assert [row.cause for row in plant.rows()] == [Cause.OK] * 3
    assert len(plant.line.told) == 3
    assert plant.telemetry.kinds().count("shadow_failed") == 1
    for result in plant.ledger.shadow_results:
        assert (result.outcome, result.level, result.score) == (Outcome.UNJUDGED, None, None)
        assert result.detail == "RuntimeError: the head is broken"


async def test_score_next_without_time_to_spare_scores_nothing_and_says_so_once() -> None:
    plant = Plant(settings())  # its window is 2 s
    shadows = with_shadow(plant, cost_ms=5000.0)
    async with plant.running():
        for trigger in range(1, 4):
            plant.push(GOOD, trigger)
        await plant.has_rows(3)
        await until(lambda: plant.telemetry.counters["shadow_frames_left_out"] == 3)
    assert shadows.scored == []
    assert plant.ledger.shadow_results == []
    assert plant.telemetry.kinds().count("shadow_short_of_time") == 1
    assert plant.telemetry.values["shadow_frames_left_out"] == 3
    assert [row.published for row in plant.rows()] == [True] * 3


async def test_run_ledger_away_keeps_the_results_and_the_road_goes_on() -> None:
    plant = Plant(FREE)
    shadows = with_shadow(plant)
    async with plant.running():
        plant.ledger.is_available = False
        plant.push(GOOD)
        await until(lambda: shadows.scored == ["alpha"])
        plant.push(BAD)
        await until(lambda: not plant.source.broker.kept)
        assert plant.ledger.shadow_results == []
        plant.ledger.is_available = True
        await until(lambda: len(plant.ledger.shadow_results) == 2)


async def test_offer_frame_without_a_verdict_by_score_is_not_scored() -> None:
    plant = Plant(FREE)
    shadows = with_shadow(plant)
    async with plant.running():
        for payload in (b"", b"junk", b"9:0.20", b"1:0.20", GOOD):
            plant.push(payload)
        await plant.has_rows(5)
        await until(lambda: len(plant.ledger.shadow_results) == 1)
    assert shadows.scored == ["alpha"]


@dataclass(frozen=True)
class UnreleasedLineup(FakeLineup):
    """Every frame shows alpha, which has no live version."""

    def route(self, frame: Frame) -> Routed | Failure:
        del frame
        return Failure(Cause.NOT_RELEASED, "alpha has only a shadow version", product="alpha")


async def test_offer_frame_of_a_product_that_is_not_released_is_scored_and_stays_unjudged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("inspector.testing.lineup.FakeLineup", UnreleasedLineup)
    plant = Plant(settings())
    with_shadow(plant)
    async with plant.running():
        plant.push(GOOD, 1)
        await until(lambda: len(plant.ledger.shadow_results) == 1)
    (row,) = plant.rows()
    assert (row.cause, row.outcome, row.level) == (Cause.NOT_RELEASED, Outcome.UNJUDGED, None)
    assert [told.action for told in plant.line.told] == [Action.QUARANTINE]
    assert plant.ledger.shadow_results[0].result_id == row.result_id
