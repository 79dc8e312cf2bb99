"""Thresholds from good images alone, and what may honestly be promised about them.

A `certified` statement needs scores of held-out images that the deployed head never saw; an `estimate`
comes from cross-fit heads, which are not the one deployed. The two are never mixed. Knows nothing of
images or heads: scores in, a `Calibration` out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from inspector.errors import ArtifactError

SURE_COUNT = 99
"""From so many held-out images the 1 % order statistic exists; below, the largest score gets a margin."""

MARGIN = 1.05
"""What the largest score is widened by where no order statistic is sure."""

Kind = Literal["certified", "estimate"]


def rank_of(n: int, alpha: float) -> int:
    """The conformal rank among n scores; beyond n where they are too few."""
    return math.ceil((n + 1) * (1.0 - alpha))


def threshold_of(scores: Sequence[float], alpha: float, *, is_cross_fit: bool) -> tuple[float, float]:
    """The threshold that good `scores` give, at least one, and their median."""
    ordered = sorted(scores)
    n, middle = len(ordered), len(ordered) // 2
    rank = rank_of(n, alpha)
    is_sure = rank <= n and not is_cross_fit
    threshold = ordered[min(rank, n) - 1] * (1.0 if is_sure else MARGIN)
    median = ordered[middle] if n % 2 else (ordered[middle - 1] + ordered[middle]) / 2.0
    if not threshold > median:  # all scores equal: any finite gap keeps the level defined
        threshold = median + max(abs(median), 1.0) * (MARGIN - 1.0)
    return threshold, median


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
