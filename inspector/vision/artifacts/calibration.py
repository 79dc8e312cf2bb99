"""Computes a threshold from the scores of good images alone, and states what the threshold promises.

A `certified` statement needs scores of held-out images that the deployed head never saw. An `estimate` comes from
cross-fit heads, which are not the deployed head. The two kinds are never mixed. This module takes scores and gives a
`Calibration`; it knows nothing of images or heads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from inspector.errors import ArtifactError
from inspector.vision.heads.stored import finite

SURE_COUNT = 99
"""Number of held-out images from which the 1 % order statistic exists. With fewer, the largest score gets a margin."""

MARGIN = 1.05
"""Factor by which the largest score is multiplied where the images do not suffice for an order statistic."""

Kind = Literal["certified", "estimate"]


def rank_of(n: int, alpha: float) -> int:
    """The conformal rank among n scores. It is larger than n where there are too few scores for this alpha."""
    return math.ceil((n + 1) * (1.0 - alpha))


def scores_needed(alpha: float) -> int:
    """The number of scores from which there is an order statistic for this alpha: 99 for 1 %."""
    n = max(1, math.ceil(1.0 / alpha) - 1)
    while rank_of(n, alpha) > n:  # rounding of floats
        n += 1
    return n


def threshold_of(scores: Sequence[float], alpha: float, *, is_cross_fit: bool) -> tuple[float, float]:
    """The threshold that the scores of good images give, and their median. `scores` holds at least one score."""
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
    """A product's threshold and its statement. A frame with a score strictly above `threshold` is rejected.

    `median` is the median of the good scores and has level 0; `threshold` has level 1. `false_reject_bound`: the share
    of good parts like these that are rejected lies below this bound, with `confidence`. An estimate has None there and
    a `false_reject_interval` instead.
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
        if self.confidence is None or (self.kind == "certified" and self.false_reject_bound is None):
            return "its manifest does not say what it promises"
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
        """The calibration that a manifest stores.

        Raises ArtifactError where its threshold is not above its median, and for a field of another kind.
        """
        fields = {name: stored.get(name) for name in cls.__slots__}
        fields["false_reject_interval"] = _interval(fields["false_reject_interval"])
        threshold, median = fields["threshold"], fields["median"]
        if not isinstance(threshold, float) or not isinstance(median, float) or not threshold > median:
            raise ArtifactError("The artifact's calibration can't be read: no threshold above its median.")
        for name, kinds in _KINDS.items():
            value = fields[name]
            if value is not None and (type(value) not in kinds or (type(value) is int and abs(value) >= _HIGHEST)):
                raise ArtifactError(f"The artifact's calibration can't be read: its {name} is of another kind.")
        return cls(**fields)  # type: ignore[arg-type]  # JSON has no types; they are checked above


def _interval(stored: object) -> tuple[float, float] | None:
    """The two ends of an interval. Raises ArtifactError for what is none."""
    if stored is None:
        return None
    try:
        low, high = stored if isinstance(stored, list | tuple) else ()
        return finite(low), finite(high)
    except (TypeError, ValueError, OverflowError) as error:
        raise ArtifactError(
            "The artifact's calibration can't be read: its false_reject_interval is of another kind."
        ) from error


_HIGHEST: Final = 2**63
"""Whole numbers up to it are stored; far larger ones are no floats any more."""

_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "kind": (str,),
    "provisional": (bool,),
    "n": (int,),
    "held_out": (str,),
    "alpha": (float, int),
    "confidence": (float, int),
    "rule": (str,),
    "false_reject_bound": (float, int),
    "false_reject_interval": (tuple,),
    "expected_false_reject": (float, int),
}
"""What the fields of a stored calibration are, besides its two numbers that decide. One that is missing is None."""
