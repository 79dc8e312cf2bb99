"""Makes the threshold of a head from scores of held-out good images."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from inspector.errors import UsageError
from inspector.vision.artifacts.binomial import clopper_pearson, upper_bound
from inspector.vision.artifacts.calibration import MARGIN, Calibration, rank_of, threshold_of

ALPHA = 0.01
CONFIDENCE = 0.95
MOST_OVERKILL = 0.2
"""The largest share of good parts that a person may let be rejected. Beyond it the threshold lies among usual parts."""


def parse_overkill(text: str) -> float:
    """A share of good parts, written as `0.01` or `1%`. Raises UsageError unless it is above 0 and at most 20 %."""
    number = text.strip().removesuffix("%").strip()
    try:
        share = float(number) / (100.0 if text.strip().endswith("%") else 1.0)
    except ValueError:
        share = math.nan
    if not 0.0 < share <= MOST_OVERKILL:
        raise UsageError(
            f"{text!r} is no share of good parts to reject; write it as 1% or 0.01, above 0 and at most "
            f"{MOST_OVERKILL:.0%}."
        )
    return share


def calibrate(scores: NDArray[np.floating], *, held_out: str, is_cross_fit: bool, alpha: float = ALPHA) -> Calibration:
    """The threshold of good `scores` [n], n >= 1, positive: an order statistic, or their largest times 1.05.

    With 99 scores or more (for alpha = 1 %), it is the score of the conformal rank ceil((n + 1)(1 - alpha)). With fewer
    scores, no rank has a mean false-reject rate of alpha; the largest score is widened, and the result is provisional.
    """
    ordered = np.sort(np.asarray(scores, np.float64))
    n = len(ordered)
    if n == 0 or not np.isfinite(ordered).all():
        raise ValueError("calibration needs at least one score, all finite")
    rank = rank_of(n, alpha)
    is_sure = rank <= n and not is_cross_fit
    rank = min(rank, n)
    threshold, median = threshold_of(ordered.tolist(), alpha, is_cross_fit=is_cross_fit)
    above = n - rank
    return Calibration(
        threshold=threshold,
        median=median,
        kind="estimate" if is_cross_fit else "certified",
        provisional=not is_sure,
        n=n,
        held_out=held_out,
        alpha=alpha,
        confidence=CONFIDENCE,
        rule=_rule(rank, n, widened=not is_sure),
        false_reject_bound=None if is_cross_fit else upper_bound(above, n, CONFIDENCE),
        false_reject_interval=clopper_pearson(above, n, CONFIDENCE) if is_cross_fit else None,
        expected_false_reject=None if is_cross_fit else (above + 1) / (n + 1),
    )


def _rule(rank: int, n: int, *, widened: bool) -> str:
    """How the threshold was made, in words."""
    score = "the largest score" if rank == n and widened else f"order statistic {rank} of {n}"
    return f"{score} times {MARGIN}" if widened else score


def without_the_largest(scores: NDArray[np.floating], calibration: Calibration, count: int = 1) -> Calibration:
    """The calibration that `scores` without their `count` largest would give. `count` is less than their number."""
    rest, is_cross_fit = np.sort(scores)[: len(scores) - count], calibration.kind == "estimate"
    return calibrate(rest, held_out=calibration.held_out, is_cross_fit=is_cross_fit, alpha=calibration.alpha)
