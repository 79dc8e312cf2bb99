"""Finds the highest rate at which 99.9 % of parts are in time, by trials. It knows nothing of what is tried."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

IN_TIME_SHARE: Final = 0.999
LEAST_FPS: Final = 0.5
MOST_FPS: Final = 20_000.0
MOST_CONFIRMATIONS: Final = 8
STEP_BACK: Final = 0.95


@dataclass(frozen=True, slots=True)
class Trial:
    """A rate that was tried. `in_time`: parts that were told within the deadline, of `frames` that were due.

    Percentiles are milliseconds from the due instant, None if too many parts had no answer.
    """

    rate_fps: float
    frames: int
    in_time: int
    p50_ms: float | None = None
    p99_ms: float | None = None
    p999_ms: float | None = None

    @property
    def share(self) -> float:
        return self.in_time / self.frames if self.frames else 0.0

    @property
    def is_in_time(self) -> bool:
        """Whether 99.9 % were in time. Of fewer than 1000 frames, all of them have to be."""
        return self.frames > 0 and self.in_time >= least_in_time(self.frames)


def least_in_time(frames: int) -> int:
    """The fewest parts that are 99.9 % of `frames`."""
    return math.ceil(round(IN_TIME_SHARE * frames, 9))


Measure = Callable[[float], Awaitable[Trial]]


async def highest_rate(measure: Measure, start_fps: float, tolerance: float = 0.05) -> tuple[Trial | None, list[Trial]]:
    """The trial at the highest rate that was in time, and all trials in order. None: no rate was in time.

    The rate is doubled or halved until one trial is in time and one is not, then the gap is halved (by ratio) until it
    is within `tolerance`. The rate that is found is measured once more, and lowered by 5 % as often as it fails, since
    one trial may have been lucky.
    """
    trials: list[Trial] = []

    async def tried(rate_fps: float) -> Trial:
        trials.append(await measure(rate_fps))
        return trials[-1]

    low, high = await _bracket(tried, min(max(start_fps, LEAST_FPS), MOST_FPS))
    if low is None:
        return None, trials
    while high is not None and high / low > 1 + tolerance:
        middle = (low * high) ** 0.5
        if (await tried(middle)).is_in_time:
            low = middle
        else:
            high = middle
    for _ in range(MOST_CONFIRMATIONS):
        again = await tried(low)
        if again.is_in_time:
            return again, trials
        low *= STEP_BACK
    return None, trials


async def _bracket(tried: Measure, start_fps: float) -> tuple[float | None, float | None]:
    """A rate that was in time (None: none was), and a higher one that was not (None: the highest was in time too)."""
    low: float | None = None
    high: float | None = None
    rate_fps = start_fps
    while low is None or high is None:
        if (await tried(rate_fps)).is_in_time:
            low = rate_fps
            if high is not None or rate_fps >= MOST_FPS:
                break
            rate_fps = min(2 * rate_fps, MOST_FPS)
        else:
            high = rate_fps
            if low is not None or rate_fps <= LEAST_FPS:
                break
            rate_fps = max(rate_fps / 2, LEAST_FPS)
    return low, high
