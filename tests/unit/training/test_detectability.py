"""Drawn defects on held-out images, judged by a head whose eyesight is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from inspector.training.defects.drawing import DefectKind
from inspector.training.defects.planting import Ground, drawn_side_px
from inspector.training.enrol import Enrolment
from inspector.training.evidence import detectability
from inspector.training.evidence.detectability import SIZES, Detectability, DetectabilityTrial, Step
from inspector.training.evidence.trade import (
    OVERKILLS,
    TradePoint,
    completed,
    promised,
    remark_on,
    trade_of,
)
from inspector.training.statistics.calibrating import calibrate
from inspector.vision.artifacts.calibration import Calibration
from inspector.vision.artifacts.eyesight import BLIND_BELOW, LARGE_SIZES
from inspector.vision.artifacts.format import Artifact, MapScale, unpack
from inspector.vision.engines.protocols import Patches
from inspector.vision.heads.base import Judgement
from inspector.vision.images.preparation import Preparation
from inspector.vision.serving.product_inspector import ProductInspector
from tests.unit.drawings import FakeEngine

GRAY = 128
SIDE = 200


class AreaHead:
    """Scores a frame by how many pixels of its square leave the ground's gray."""

    def judge(self, embedded: Sequence[Patches]) -> list[Judgement]:
        found = []
        for pixels in embedded[0]:
            away = (np.abs(pixels.astype(np.int16) - GRAY).max(axis=2) > 15).astype(np.float32)
            found.append(Judgement(float(away.sum()), away))
        return found


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detectability, "PER_CELL", 4)
    monkeypatch.setattr(detectability, "BLIND_GRID", 3)


@pytest.fixture
def artifact(enrolled: dict[str, Enrolment]) -> Artifact:
    """Rejects from 40 pixels of the 256 px square on."""
    found = unpack(enrolled["disc"].artifact)
    return replace(
        found, calibration=replace(found.calibration, median=0.0, threshold=40.0), map_scale=MapScale(0.0, 0.5)
    )


def trial(artifact: Artifact, grounds: list[Ground], learnt: int = 200) -> DetectabilityTrial:
    inspector = ProductInspector(artifact, FakeEngine())
    inspector._head = AreaHead()
    return DetectabilityTrial(inspector, lambda pixels: [pixels], grounds, seen=False, learnt=learnt)


def clean(count: int, side: int = SIDE) -> list[Ground]:
    """Gray parts with a fine grain, and a frame in another gray behind which nothing is missed."""
    images = []
    for seed in range(count):
        grain = np.random.default_rng(seed).integers(-3, 4, (side, side, 3))
        images.append(Ground.within((grain + GRAY).astype(np.uint8), drawn_side_px(Preparation())))
    return images


def marred() -> Ground:
    pixels = np.full((SIDE, SIDE, 3), GRAY, np.uint8)
    pixels[50:100, 50:100] = 250
    return Ground.within(pixels, drawn_side_px(Preparation()))


def test_detectability_grows_with_the_defect(artifact: Artifact) -> None:
    found = trial(artifact, clean(4)).run(lambda *_: None)
    assert found is not None
    spots = found.of(DefectKind.SPOT)
    assert [step.size_share for step in spots] == sorted(SIZES)[-len(spots) :]
    assert spots[0].found == 0  # four square pixels are no forty
    assert spots[-1].found == spots[-1].n == 4
    assert spots[-1].size_px == pytest.approx(SIZES[0] * SIDE)
    smallest = found.smallest_found(DefectKind.SPOT)
    assert smallest is not None
    assert found.n_images == 4


def test_detectability_shows_found_and_missed_with_the_heads_own_verdict(artifact: Artifact) -> None:
    found = trial(artifact, clean(4)).run(lambda *_: None)
    assert found is not None
    spots = {each.is_found: each for each in found.exhibits if each.step.kind == DefectKind.SPOT}
    assert set(spots) == {True, False}
    for is_found, shown in spots.items():
        assert (shown.level > 1.0) == is_found
        assert shown.frame.shape[:2] == (SIDE, SIDE)
        assert shown.heat.dtype == np.uint8


def test_detectability_finds_the_blind_corner(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    class HalfBlind(AreaHead):
        def judge(self, embedded: Sequence[Patches]) -> list[Judgement]:
            seen = embedded[0].copy()
            seen[:, :, :128] = GRAY
            return super().judge([seen])

    inspector = ProductInspector(artifact, FakeEngine())
    inspector._head = HalfBlind()
    found = DetectabilityTrial(inspector, lambda pixels: [pixels], clean(3), seen=True)
    measured = found.run(lambda *_: None)
    assert measured is not None
    spots = measured.blind_spots
    assert spots is not None
    assert (spots.found[:, 0] == 0).all()
    assert (spots.found[:, 2] == spots.n).all()
    assert spots.blind >= 3
    assert measured.to_manifest()["drawn_on"] == "images of the bank"


@pytest.mark.parametrize(("learnt", "drawn", "moved"), [(30, 8, 1), (75, 12, 2), (100, 16, 3), (2000, 16, 3)])
def test_detectability_of_few_images_draws_less(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, learnt: int, drawn: int, moved: int
) -> None:
    monkeypatch.setattr(detectability, "PER_CELL", 16)
    monkeypatch.setattr(detectability, "SIZES", (0.16,))
    found = trial(artifact, clean(4), learnt).run(lambda *_: None)
    assert found is not None
    assert {step.n for step in found.steps if step.kind is DefectKind.SPOT} == {drawn}
    assert found.blind_spots is not None
    assert found.blind_spots.n == moved


def test_detectability_of_the_same_images_is_the_same(artifact: Artifact) -> None:
    first, second = (trial(artifact, clean(2)).run(lambda *_: None) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.to_manifest() == second.to_manifest()


def test_detectability_of_a_head_that_finds_nothing_tries_large_sizes_and_objects(artifact: Artifact) -> None:
    deaf = replace(artifact, calibration=replace(artifact.calibration, threshold=1e9))
    found = trial(deaf, clean(3)).run(lambda *_: None)
    assert found is not None
    assert {(step.size_share, step.found) for step in found.steps} == {(size, 0) for size in (*LARGE_SIZES, SIZES[3])}
    assert all(found.smallest_found(kind) is None for kind in DefectKind)
    assert found.large.found == 0
    assert found.large.n == sum(step.n for step in found.steps if step.size_share in LARGE_SIZES)


def test_detectability_of_a_head_that_sees_does_not_object(artifact: Artifact) -> None:
    found = trial(artifact, clean(4)).run(lambda *_: None)
    assert found is not None
    assert found.large.share is not None
    assert found.large.share >= BLIND_BELOW


def test_detectability_trade_finds_more_where_more_good_parts_are_rejected(artifact: Artifact) -> None:
    good_scores = [*range(1, 100), 300.0]  # one odd image lifts the threshold that rejects almost no good part
    strict = replace(artifact, calibration=replace(artifact.calibration, threshold=300.0, kind="certified"))
    inspector = ProductInspector(strict, FakeEngine())
    inspector._head = AreaHead()
    found = DetectabilityTrial(
        inspector, lambda pixels: [pixels], clean(4), seen=False, learnt=200, good_scores=good_scores
    ).run(lambda *_: None)
    assert found is not None
    by_overkill = {point.overkill: point for point in found.trade}
    assert [by_overkill[share].threshold for share in (0.01, 0.02, 0.05)] == [300.0, 99.0, 96.0]
    assert [by_overkill[share].is_signed for share in OVERKILLS] == [False, False, True, True, True]
    assert by_overkill[0.001].threshold == pytest.approx(315.0)
    assert by_overkill[0.02].total.found > by_overkill[0.01].total.found
    assert by_overkill[0.01].total.found == sum(step.found for step in found.steps)
    stored = found.to_manifest()["trade"]
    assert [point["overkill"] for point in stored] == list(OVERKILLS)
    assert stored[2]["total"]["n"] == sum(step.n for step in found.steps)


def _calibration(n: int, alpha: float, *, is_cross_fit: bool) -> tuple[list[float], Calibration]:
    scores = [10.0 + number / n for number in range(n)]
    return scores, calibrate(np.array(scores), held_out="drawn", is_cross_fit=is_cross_fit, alpha=alpha)


@pytest.mark.parametrize(
    ("n", "is_cross_fit", "needs", "signed"),
    [
        (60, False, [999, 199, 99, None, None], [False, False, False, True, True]),
        (60, True, [999, 199, 99, None, None], [False] * 5),
        (1000, False, [None] * 5, [True] * 5),
        (1000, True, [None] * 5, [False] * 5),
    ],
)
def test_trade_says_which_rows_the_scores_are_too_few_for_and_signs_nothing_of_a_cross_fit(
    n: int, is_cross_fit: bool, needs: list[int | None], signed: list[bool]
) -> None:
    scores, calibration = _calibration(n, 0.01, is_cross_fit=is_cross_fit)
    points = trade_of([], scores, calibration)
    assert [point.needs_images for point in points] == needs
    assert [point.is_signed for point in points] == signed
    for point in points:
        assert (point.bound is None, point.interval is None) == (is_cross_fit, not is_cross_fit)
        assert ("estimate" in promised(point.to_manifest())) == is_cross_fit


@pytest.mark.parametrize("alpha", [0.01, 0.03])
def test_trade_marks_the_row_of_the_enrolment_also_where_its_share_is_none_of_the_usual(alpha: float) -> None:
    scores, calibration = _calibration(200, alpha, is_cross_fit=False)
    points = trade_of([], scores, calibration)
    assert [point.overkill for point in points] == sorted({*OVERKILLS, alpha})
    (deployed,) = [point for point in points if point.is_deployed]
    assert (deployed.overkill, deployed.level) == (alpha, pytest.approx(1.0))
    assert remark_on(deployed.to_manifest()) == "enrolled with this"
    assert remark_on(points[0].to_manifest()) == "needs 999 held-out images"


def test_trade_of_an_older_manifest_gets_the_entries_that_it_lacks() -> None:
    scores, calibration = _calibration(60, 0.01, is_cross_fit=False)
    for point in map(TradePoint.to_manifest, trade_of([], scores, calibration)):
        older = {name: value for name, value in point.items() if name not in ("needs_images", "is_deployed")}
        assert completed(older, calibration.to_manifest()) == point


def test_detectability_draws_on_no_image_that_is_rejected_as_it_is(artifact: Artifact) -> None:
    assert trial(artifact, [marred()]).run(lambda *_: None) is None
    assert trial(artifact, []).run(lambda *_: None) is None
    both = trial(artifact, [marred(), *clean(1)]).run(lambda *_: None)
    assert both is not None
    assert both.n_images == 1


def test_detectability_of_frames_larger_than_the_head_sees_is_told_in_their_own_pixels(artifact: Artifact) -> None:
    found = trial(artifact, clean(1, side=600)).run(lambda *_: None)
    assert found is not None
    assert found.of(DefectKind.SPOT)[-1].size_px == pytest.approx(SIZES[0] * 600, rel=0.01)
    assert max(found.exhibits[0].frame.shape) == 512


def test_smallest_found_is_where_all_larger_ones_are_found_too() -> None:
    shares = {0.01: 16, 0.02: 9, 0.04: 15, 0.08: 16, 0.16: 16}
    steps = tuple(Step(DefectKind.SPOT, size, size * 100, found, 16) for size, found in shares.items())
    found = Detectability(steps, None, (), 16, are_seen=False)
    smallest = found.smallest_found(DefectKind.SPOT)
    assert smallest is not None
    assert smallest.size_share == 0.04  # the lucky hits at 1 % do not count
    assert smallest.interval[0] == pytest.approx(0.698, abs=0.001)
    assert found.smallest_found(DefectKind.SMEAR) is None
