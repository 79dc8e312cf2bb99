"""Thresholds and what is promised about them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.errors import ArtifactError, UsageError
from inspector.training.statistics.calibrating import calibrate, parse_overkill, without_the_largest
from inspector.vision.artifacts.binomial import binomial_cdf, clopper_pearson, upper_bound
from inspector.vision.artifacts.calibration import Calibration


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


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.integers(1, 400), st.sampled_from([0.01, 0.02, 0.05]))
def test_certified_statement_of_a_known_distribution_holds_at_its_confidence(n: int, alpha: float) -> None:
    """Invariant: whatever n and the rank, the true rate lies below the bound in 95 of 100 calibrations at least.

    Scores are exponential, so that the true rate above a threshold t is exp(-t).
    """
    rng = np.random.default_rng(n)
    trials = 200
    held = 0
    for scores in rng.exponential(1.0, (trials, n)):
        found = calibrate(scores, held_out="", is_cross_fit=False, alpha=alpha)
        assert found.kind == "certified"
        assert found.false_reject_bound is not None
        held += math.exp(-found.threshold) < found.false_reject_bound
    assert held / trials >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / trials)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 3000), st.floats(0.001, 0.5))
def test_certified_statement_is_not_vacuous(n: int, p: float) -> None:
    """Invariant: with as many images as p needs, and no more, the bound at the largest score is p or less."""
    needed = math.ceil(math.log(0.05) / math.log1p(-p))
    assert upper_bound(0, needed, 0.95) <= p + 1e-9
    assert needed == 1 or upper_bound(0, needed - 1, 0.95) > p - 1e-9
    assert upper_bound(0, n, 0.95) <= min(1.0, 3.0 / n)
    assert upper_bound(0, n, 0.95) > 0.9 / n


@pytest.mark.parametrize(("n", "alpha"), [(120, 0.01), (250, 0.02)])
def test_certified_statement_without_a_margin_is_exact(n: int, alpha: float) -> None:
    """The bound is no larger than it must be: with an order statistic it holds in 95 of 100 calibrations, not in 99."""
    rng = np.random.default_rng(n)
    trials = 800
    held = 0
    for scores in rng.exponential(1.0, (trials, n)):
        found = calibrate(scores, held_out="", is_cross_fit=False, alpha=alpha)
        held += math.exp(-found.threshold) < (found.false_reject_bound or 0.0)
    assert held / trials == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / trials))


def test_statement_says_n_how_held_out_confidence_and_for_which_parts() -> None:
    certified = calibrate(np.arange(1.0, 41.0), held_out="40 of 200 images in runs", is_cross_fit=False).statement
    estimate = calibrate(np.arange(1.0, 41.0), held_out="10-fold cross-fit over 40", is_cross_fit=True).statement
    for statement in (certified, estimate):
        assert "95%" in statement
        assert "parts like these" in statement
        assert "40" in statement
    assert "40 of 200 images in runs" in certified
    assert "10-fold cross-fit over 40" in estimate
    assert "provisional" in estimate


def test_without_the_largest_the_next_one_makes_the_threshold() -> None:
    scores = np.array([3.0, 10.0, 1.0, 4.0])
    found = without_the_largest(scores, calibrate(scores, held_out="", is_cross_fit=False))
    assert found.threshold == pytest.approx(4.0 * 1.05)
    assert (found.n, found.kind) == (3, "certified")
    assert without_the_largest(scores, calibrate(scores, held_out="", is_cross_fit=True), 2).threshold == 3.0 * 1.05


@pytest.mark.parametrize(
    ("text", "share"), [("1%", 0.01), ("0.01", 0.01), (" 0.5 % ", 0.005), ("20%", 0.2), ("1e-3", 0.001)]
)
def test_parse_overkill_takes_percent_and_shares(text: str, share: float) -> None:
    assert parse_overkill(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["0", "0%", "-1%", "21%", "1", "much", "", "nan", "inf%"])
def test_parse_overkill_refuses_what_is_no_share(text: str) -> None:
    with pytest.raises(UsageError, match=r"1% or 0\.01"):
        parse_overkill(text)
