"""Histograms that cost a running agent almost nothing: observed on the event loop, read by other threads.

There is no lock. A reader may find the newest value in a bucket and not yet in the sum.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reading:
    """A histogram at one moment. `counts`: values up to each bound of `bounds` and above the one before, then the rest.

    A value that equals a bound counts for that bound.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float

    @property
    def cumulated(self) -> list[int]:
        """The number of values up to each bound, and last the number of all values."""
        sums: list[int] = []
        for count in self.counts:
            sums.append(count + (sums[-1] if sums else 0))
        return sums


class Tally:
    """One histogram. `bounds` rise."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._total = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def read(self) -> Reading:
        return Reading(self._bounds, tuple(self._counts), self._total)
