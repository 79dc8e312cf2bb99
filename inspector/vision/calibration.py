"""Thresholds from good images alone, and what may honestly be promised about them.

A `certified` statement needs scores of held-out images that the deployed head never saw; an `estimate`
comes from cross-fit heads, which are not the one deployed. The two are never mixed. Knows nothing of
images or heads: scores in, a `Calibration` out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from inspector.errors import ArtifactError

ALPHA = 0.01
CONFIDENCE = 0.95
SURE_COUNT = 99
"""From so many held-out images the 1 % order statistic exists; below, the largest score gets a margin."""
MARGIN = 1.05

Kind = Literal["certified", "estimate"]


@dataclass(frozen=True, slots=True)
class Calibration:
    """A product's threshold and its statement. A score strictly above `threshold` rejects.

    `median` of the good scores is level 0, `threshold` is level 1. `false_reject_bound`: with
    `confidence`, the share of good parts like these that are rejected lies below it (None for an
    estimate, where `false_reject_interval` is given instead).
    """

    threshold: float
    median: float
    kind: Kind
    provisional: bool
    n: int
    held_out: str
    alpha: float
    confidence: float
    rule: str
    false_reject_bound: float | None
    false_reject_interval: tuple[float, float] | None
    expected_false_reject: float | None

    def level(self, score: float) -> float:
        """(score - median) / (threshold - median): 1.0 is the threshold."""
        return (score - self.median) / (self.threshold - self.median)

    @property
    def statement(self) -> str:
        """The promise in one sentence, for people."""
        if self.kind == "certified":
            return (
                f"certified: with {self.confidence:.0%} confidence fewer than {self.false_reject_bound:.1%} of good "
                f"parts like these are rejected ({self.n} held-out images: {self.held_out}; {self.rule})"
                + ("; provisional, enrol more good images to tighten it" if self.provisional else "")
            )
        low, high = self.false_reject_interval or (0.0, 1.0)
        return (
            f"estimate: with {self.confidence:.0%} confidence between {low:.1%} and {high:.1%} of good parts "
            f"like these are rejected ({self.n} images scored by heads that are not the one deployed: {self.held_out}; "
            f"{self.rule}); provisional"
        )

    def to_manifest(self) -> dict[str, Any]:
        return {**asdict(self), "statement": self.statement}

    @classmethod
    def from_manifest(cls, stored: Mapping[str, Any]) -> Calibration:
        """Raises ArtifactError."""
        fields = {name: stored.get(name) for name in cls.__slots__}
        interval = fields["false_reject_interval"]
        fields["false_reject_interval"] = tuple(interval) if interval is not None else None
        threshold, median = fields["threshold"], fields["median"]
        if not isinstance(threshold, float) or not isinstance(median, float) or not threshold > median:
            raise ArtifactError("The artifact's calibration can't be read: no threshold above its median.")
        return cls(**fields)  # type: ignore[arg-type]  # a manifest's JSON says no types; the two that judge are checked


def calibrate(scores: NDArray[np.floating], *, held_out: str, is_cross_fit: bool, alpha: float = ALPHA) -> Calibration:
    """The threshold of good `scores` [n], n >= 1, positive: an order statistic, or their largest times 1.05.

    From 99 scores on (for alpha = 1 %), the conformal rank ceil((n + 1)(1 - alpha)); below, no rank has a
    mean false-reject rate of alpha, so the largest is widened and the result is provisional.
    """
    ordered = np.sort(np.asarray(scores, np.float64))
    n = len(ordered)
    if n == 0 or not np.isfinite(ordered).all():
        raise ValueError("calibration needs at least one score, all finite")
    rank = math.ceil((n + 1) * (1.0 - alpha))
    is_sure = rank <= n and not is_cross_fit
    rank = min(rank, n)
    widened = not is_sure
    threshold = float(ordered[rank - 1]) * (MARGIN if widened else 1.0)
    median = float(np.median(ordered))
    if not threshold > median:  # all scores equal: any finite gap keeps the level defined
        threshold = median + max(abs(median), 1.0) * (MARGIN - 1.0)
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
        rule=f"the largest score times {MARGIN}" if widened and rank == n else f"order statistic {rank} of {n}",
        false_reject_bound=None if is_cross_fit else upper_bound(above, n, CONFIDENCE),
        false_reject_interval=clopper_pearson(above, n, CONFIDENCE) if is_cross_fit else None,
        expected_false_reject=None if is_cross_fit else (above + 1) / (n + 1),
    )


def without_the_largest(scores: NDArray[np.floating], calibration: Calibration, count: int = 1) -> Calibration:
    """The calibration that these `scores` would have given but for their `count` largest, fewer than there are."""
    rest, is_cross_fit = np.sort(scores)[: len(scores) - count], calibration.kind == "estimate"
    return calibrate(rest, held_out=calibration.held_out, is_cross_fit=is_cross_fit, alpha=calibration.alpha)


def upper_bound(above: int, n: int, confidence: float) -> float:
    """p such that the rate of scores above the (n - above)-th order statistic is below p with `confidence`.

    That rate is Beta(above + 1, n - above) whatever the scores' distribution (no ties):
    P(rate <= p) = P(Bin(n, p) >= above + 1). For above = 0 it is 1 - (1 - confidence)^(1/n).
    """
    return _solve(lambda p: 1.0 - binomial_cdf(above, n, p), confidence)


def clopper_pearson(hits: int, n: int, confidence: float) -> tuple[float, float]:
    """The two-sided exact interval of a share, `hits` of `n`."""
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if hits == 0 else _solve(lambda p: 1.0 - binomial_cdf(hits - 1, n, p), tail)
    high = 1.0 if hits == n else _solve(lambda p: 1.0 - binomial_cdf(hits, n, p), 1.0 - tail)
    return low, high


def binomial_cdf(k: int, n: int, p: float) -> float:
    """P(Bin(n, p) <= k)."""
    if p <= 0.0:
        return 1.0
    if p >= 1.0:
        return 1.0 if k >= n else 0.0
    logs = [
        math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * math.log(p) + (n - i) * math.log1p(-p)
        for i in range(k + 1)
    ]
    return min(1.0, math.fsum(math.exp(value) for value in logs))


def _solve(rising: Callable[[float], float], target: float) -> float:
    """p in [0, 1] where a rising function reaches `target`, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if rising(middle) < target else (low, middle)
    return high
