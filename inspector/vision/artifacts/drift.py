"""Whether the parts that a version accepts still look as the good images did that set its threshold.

Scores of accepted parts are counted from the version's own calibration, whatever its threshold was since. Two things
are looked at: how many lie above a high score of the calibration, and how far the two distributions are apart. Both
bounds allow for the few images that calibrated. They take parts for independent, which parts of one lot are not: a
finding says that something has changed, not what. Nothing here moves a threshold.
"""

from __future__ import annotations

import enum
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from inspector.domain import FrameFault
from inspector.errors import ArtifactError
from inspector.vision.artifacts.binomial import binomial_cdf, clopper_pearson
from inspector.vision.artifacts.thresholds import EnrolledThreshold

BINS: Final = 50
"""Bins of a level of 1. Finer differences are not told apart."""
LEAST_SCORES: Final = 10
"""Fewer held-out scores say nothing about how parts vary."""
LEAST_PARTS: Final = 100
"""Fewer accepted parts are not judged."""
TOP_SHARE: Final = 0.1
"""The share of held-out scores above the mark from which on parts are counted."""
CHANCE: Final = 0.001
"""What is this unlikely by chance is drift."""
EXACT_UP_TO: Final = 5000
"""With more parts the normal distribution stands for the binomial one; they hardly differ then."""
NORMAL_QUANTILE: Final = 3.0902
"""Exceeded by chance with the probability `CHANCE`."""
CONFIDENCE: Final = 0.95
FAULT_SHARE: Final = 0.01
"""From this share of faulty frames on, the fault is named as the likely cause."""


class Direction(enum.StrEnum):
    """How the accepted parts differ from the good images."""

    NONE = "none"
    UP = "up"
    DOWN = "down"
    SHAPE = "shape"


@dataclass(frozen=True, slots=True)
class Reference:
    """The good images that calibrated a version. `levels`: in order. `mark`: `above` of them lie above it.

    `low` and `high`: the share of parts like these that lies above the mark, with 95 % confidence on either side.
    """

    levels: tuple[float, ...]
    mark: float
    above: int
    low: float
    high: float

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Reference | None:
        """None where the manifest has too few scores, or none that can be read."""
        try:
            enrolled = EnrolledThreshold.of(manifest)
        except ArtifactError:
            return None
        levels = tuple(sorted(enrolled.calibration.level(score) for score in enrolled.scores))
        if len(levels) < LEAST_SCORES or levels[0] == levels[-1]:
            return None
        above = max(1, round(TOP_SHARE * len(levels)))
        low, high = clopper_pearson(above, len(levels), 2 * CONFIDENCE - 1)
        return cls(levels, levels[-above - 1], above, low, high)


@dataclass(frozen=True, slots=True)
class Accepted:
    """Parts of one product that passed at one camera. `bins`: their number by floor(level * BINS).

    `rejected`: parts that did not pass. `faults`: frames that were not judged because of their health.
    """

    camera: str
    bins: Mapping[int, int]
    rejected: int = 0
    faults: Mapping[FrameFault, int] = field(default_factory=dict)

    @property
    def parts(self) -> int:
        return sum(self.bins.values())

    @property
    def frames(self) -> int:
        return self.parts + self.rejected + sum(self.faults.values())


@dataclass(frozen=True, slots=True)
class Drift:
    """How the accepted parts of a camera compare with the reference.

    `expected`: the fewest and the most parts above the mark that chance allows. `distance`: the greatest difference of
    the two distribution functions (Kolmogorov and Smirnov); `distance_bound`: the greatest that chance allows.
    """

    camera: str
    parts: int
    above: int
    expected: tuple[int, int]
    distance: float
    distance_bound: float
    direction: Direction
    cause: str = ""

    @property
    def is_found(self) -> bool:
        return self.direction is not Direction.NONE

    @property
    def statement(self) -> str:
        """What was found, in a sentence."""
        least, most = self.expected
        counted = (
            f"{self.above} of {self.parts} accepted parts lie in the top tenth of calibration, where {least} to {most} "
            f"may; the distributions are {self.distance:.2f} apart, where {self.distance_bound:.2f} may be"
        )
        if not self.is_found:
            return f"{counted}: no drift"
        word = {
            Direction.UP: "parts come nearer to the threshold than the good images did",
            Direction.DOWN: "parts lie further below the threshold than the good images did",
            Direction.SHAPE: "the levels of parts are spread otherwise than those of the good images",
        }[self.direction]
        return f"{word}: {counted}. Likely cause: {self.cause}. The threshold was not moved"


def compare(reference: Reference, accepted: Sequence[Accepted]) -> list[Drift]:
    """One comparison for each camera with enough parts, with the likely cause of what was found."""
    enough = [each for each in accepted if each.parts >= LEAST_PARTS]
    found = [_compared(reference, each) for each in enough]
    is_everywhere = len(found) > 1 and all(each.is_found for each in found)
    return [_with_cause(drift, each, is_everywhere, len(found)) for drift, each in zip(found, enough, strict=True)]


def chance_bounds(n: int, low: float, high: float) -> tuple[int, int]:
    """The fewest and the most of n parts that lie above the mark unless something this unlikely happened."""
    if n > EXACT_UP_TO:
        spread_low, spread_high = (NORMAL_QUANTILE * math.sqrt(n * share * (1 - share)) for share in (low, high))
        return max(0, math.floor(n * low - spread_low)), min(n, math.ceil(n * high + spread_high))
    least = _first(n, lambda k: binomial_cdf(k, n, low) >= CHANCE)
    most = _first(n, lambda k: 1.0 - binomial_cdf(k, n, high) < CHANCE)
    return least, most


def distance_of(levels: Sequence[float], bins: Mapping[int, int]) -> float:
    """The greatest difference between the share of `levels` and of the parts below a limit, at the limits of bins."""
    parts, seen, greatest = sum(bins.values()), 0, 0.0
    limits = sorted(set(bins) | {math.floor(level * BINS) for level in levels})
    for limit in limits:
        seen += bins.get(limit, 0)
        below = sum(math.floor(level * BINS) <= limit for level in levels) / len(levels)
        greatest = max(greatest, abs(seen / parts - below))
    return greatest


def _compared(reference: Reference, accepted: Accepted) -> Drift:
    n, size = accepted.parts, len(reference.levels)
    mark = math.floor(reference.mark * BINS)
    above = sum(count for level, count in accepted.bins.items() if level > mark)
    expected = chance_bounds(n, reference.low, reference.high)
    distance = distance_of(reference.levels, accepted.bins)
    bound = math.sqrt(-math.log(CHANCE / 2) / 2) * math.sqrt((n + size) / (n * size))
    direction = Direction.NONE
    if above > expected[1]:
        direction = Direction.UP
    elif distance > bound:
        direction = _direction(reference.levels, accepted.bins)
    elif above < expected[0]:
        direction = Direction.DOWN
    return Drift(accepted.camera, n, above, expected, distance, bound, direction)


def _direction(levels: Sequence[float], bins: Mapping[int, int]) -> Direction:
    """Where the middle of the parts lies: among the middle half of the good images, above it, or below it."""
    parts, seen, middle = sum(bins.values()), 0, 0
    for limit in sorted(bins):
        seen += bins[limit]
        if 2 * seen >= parts:
            middle = limit
            break
    lower, upper = (math.floor(levels[int(share * (len(levels) - 1))] * BINS) for share in (0.25, 0.75))
    return Direction.UP if middle > upper else Direction.DOWN if middle < lower else Direction.SHAPE


def _with_cause(drift: Drift, accepted: Accepted, is_everywhere: bool, cameras: int) -> Drift:
    return replace(drift, cause=_cause(accepted, is_everywhere, cameras)) if drift.is_found else drift


def _cause(accepted: Accepted, is_everywhere: bool, cameras: int) -> str:
    """What to look at first. Frame health comes before everything else, because it is measured."""
    faults = Counter(accepted.faults)
    if faults and faults.total() >= FAULT_SHARE * accepted.frames:
        (fault, number), *_ = faults.most_common(1)
        return (
            f"{accepted.camera} also sent {number} {fault.value} frames of {accepted.frames}; look at its lamp, lens "
            "and fixture first"
        )
    if is_everywhere:
        return (
            f"all {cameras} cameras drift alike, so the parts or their material have changed; look at some, enrol again"
        )
    if cameras > 1:
        return f"only some of {cameras} cameras drift; look at light, focus and position of {accepted.camera}"
    return (
        f"unknown, as no other camera shows this product; look at light, focus and position of {accepted.camera}, then "
        "at the parts"
    )


def _first(n: int, holds: Callable[[int], bool]) -> int:
    """The smallest k from 0 to n for which it holds, where it holds from some k on; n if it never does."""
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low
