"""Levels as bars over a common axis from 0 to `MOST_LEVEL`. Pure.

Levels beyond an end are counted in the last bar of that end, so that one extreme part does not flatten all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MOST_LEVEL: Final = 2.0
BARS: Final = 40
WIDTH: Final = 800
HEIGHT: Final = 220


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar in the chart's units, with what it stands for."""

    x: float
    y: float
    width: float
    height: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bars of two groups, each scaled to the share of its own group. `most`: the largest share, at the top."""

    calibration: tuple[Bar, ...]
    lately: tuple[Bar, ...]


def histogram(calibration: Sequence[float], lately: Sequence[float]) -> Histogram:
    """The bars of calibration's levels and of those seen lately."""
    counted = [_counts(calibration), _counts(lately)]
    shares = [[count / max(1, sum(counts)) for count in counts] for counts in counted]
    most = max(0.02, *(max(each) for each in shares))
    first, second = (
        tuple(_bar(index, count, share / most) for index, (count, share) in enumerate(zip(*pair, strict=True)) if count)
        for pair in zip(counted, shares, strict=True)
    )
    return Histogram(first, second)


def x_of(level: float) -> float:
    """Where a level stands on the axis."""
    return min(max(level / MOST_LEVEL, 0.0), 1.0) * WIDTH


def _counts(levels: Sequence[float]) -> list[int]:
    counts = [0] * BARS
    for level in levels:
        counts[min(BARS - 1, max(0, int(level / MOST_LEVEL * BARS)))] += 1
    return counts


def _bar(index: int, count: int, share: float) -> Bar:
    width = WIDTH / BARS
    height = max(2.0, share * HEIGHT)
    low = index * MOST_LEVEL / BARS
    return Bar(index * width, HEIGHT - height, width, height, low, low + MOST_LEVEL / BARS, count)
