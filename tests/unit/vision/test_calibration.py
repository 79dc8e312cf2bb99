"""Thresholds and what is promised about them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.errors import ArtifactError
from inspector.vision.calibration import Calibration, binomial_cdf, calibrate, clopper_pearson, upper_bound


@pytest.mark.parametrize(("n", "bound"), [(59, 0.05), (299, 0.01), (10, 0.26)])
def test_upper_bound_at_the_largest_score_is_the_known_one(n: int, bound: float) -> None:
    assert upper_bound(0, n, 0.95) == pytest.approx(bound, abs=0.0015)
    assert upper_bound(0, n, 0.95) == pytest.approx(1 - 0.05 ** (1 / n), abs=1e-9)


def test_upper_bound_of_a_lower_rank_follows_the_binomial() -> None:
    bound = upper_bound(2, 200, 0.95)
    assert binomial_cdf(2, 200, bound) == pytest.approx(0.05, abs=1e-6)
    assert bound > upper_bound(0, 200, 0.95)


def test_binomial_cdf_small_case_by_hand() -> None:
    assert binomial_cdf(1, 3, 0.5) == pytest.approx(0.5)
    assert binomial_cdf(0, 2, 0.25) == pytest.approx(0.5625)
    assert binomial_cdf(0, 5, 0.0) == 1.0
    assert binomial_cdf(4, 5, 1.0) == 0.0


def test_clopper_pearson_of_no_escape_in_twenty_still_allows_one_in_six() -> None:
    low, high = clopper_pearson(0, 20, 0.95)
    assert low == 0.0
    assert high == pytest.approx(0.168, abs=0.001)  # the one-sided figure is 0.14


def test_calibrate_few_scores_take_the_largest_with_a_margin() -> None:
    found = calibrate(np.arange(1.0, 41.0), held_out="a test", is_cross_fit=False)
    assert found.threshold == pytest.approx(42.0)
    assert found.kind == "certified"
    assert found.provisional
    assert found.n == 40
    assert found.false_reject_bound == pytest.approx(1 - 0.05 ** (1 / 40), abs=1e-6)
    assert "7.2%" in found.statement
    assert "parts like these" in found.statement.replace("good parts", "parts")


def test_calibrate_many_scores_take_the_order_statistic() -> None:
    found = calibrate(np.arange(1.0, 201.0), held_out="a test", is_cross_fit=False)
    rank = math.ceil(201 * 0.99)
    assert found.threshold == rank
    assert not found.provisional
    assert found.rule == f"order statistic {rank} of 200"
    assert found.expected_false_reject == pytest.approx((200 - rank + 1) / 201)


def test_calibrate_99_scores_are_just_enough() -> None:
    assert not calibrate(np.arange(1.0, 100.0), held_out="", is_cross_fit=False).provisional
    assert calibrate(np.arange(1.0, 99.0), held_out="", is_cross_fit=False).provisional


def test_calibrate_cross_fit_is_an_estimate_with_an_interval() -> None:
    found = calibrate(np.arange(1.0, 201.0), held_out="folds", is_cross_fit=True)
    assert found.kind == "estimate"
    assert found.provisional
    assert found.false_reject_bound is None
    assert found.false_reject_interval is not None
    assert found.statement.startswith("estimate")


def test_calibrate_equal_scores_still_give_a_level() -> None:
    found = calibrate(np.full(30, 5.0), held_out="", is_cross_fit=False)
    assert found.threshold > found.median
    assert found.level(5.0) == 0.0


@pytest.mark.parametrize("scores", [[], [1.0, float("nan")], [1.0, float("inf")]])
def test_calibrate_without_finite_scores_is_refused(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="calibration needs"):
        calibrate(np.array(scores), held_out="", is_cross_fit=False)


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=150), st.booleans())
def test_calibrate_any_scores_give_a_level_of_one_at_the_threshold(scores: list[float], crossed: bool) -> None:
    """Invariant: the threshold is above the median, at most alpha of the scores exceed it, it survives its manifest."""
    found = calibrate(np.array(scores), held_out="x", is_cross_fit=crossed)
    assert found.threshold > found.median
    assert found.level(found.threshold) == 1.0
    assert sum(score > found.threshold for score in scores) <= 0.01 * (len(scores) + 1)
    assert Calibration.from_manifest(found.to_manifest()) == found


def test_calibration_without_a_threshold_above_its_median_is_refused() -> None:
    stored = calibrate(np.arange(1.0, 41.0), held_out="", is_cross_fit=False).to_manifest()
    with pytest.raises(ArtifactError):
        Calibration.from_manifest({**stored, "threshold": stored["median"]})
    with pytest.raises(ArtifactError):
        Calibration.from_manifest({})
