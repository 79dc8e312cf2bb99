"""The search for the highest rate, on made-up machines."""

from __future__ import annotations

import asyncio

import pytest

from inspector.benching.search import LEAST_FPS, MOST_FPS, Trial, highest_rate

FRAMES = 1000


class Machine:
    """Holds every rate up to `limit_fps`; the first `lucky` trials beyond it, up to a tenth, are in time by luck."""

    def __init__(self, limit_fps: float, lucky: int = 0) -> None:
        self._limit_fps, self._lucky = limit_fps, lucky

    async def measure(self, rate_fps: float) -> Trial:
        is_fine = rate_fps <= self._limit_fps
        if not is_fine and self._lucky and rate_fps <= 1.1 * self._limit_fps:
            self._lucky -= 1
            is_fine = True
        return Trial(rate_fps, FRAMES, FRAMES if is_fine else FRAMES - 2)


@pytest.mark.parametrize("start_fps", [1.0, 60.0, 137.0, 5000.0])
@pytest.mark.parametrize("limit_fps", [0.7, 3.0, 137.0, 950.0])
def test_highest_rate_is_found_within_the_tolerance(limit_fps: float, start_fps: float) -> None:
    best, trials = asyncio.run(highest_rate(Machine(limit_fps).measure, start_fps))
    assert best is not None
    assert limit_fps / 1.05 <= best.rate_fps <= limit_fps
    assert trials[-1] is best  # it was measured once more
    assert trials.count(best) == 2 or len(trials) == 1


def test_highest_rate_lucky_trial_is_not_believed() -> None:
    best, trials = asyncio.run(highest_rate(Machine(100.0, lucky=2).measure, 105.0))
    assert best is not None
    assert best.rate_fps <= 100.0
    assert any(trial.rate_fps > 100.0 and trial.is_in_time for trial in trials)


def test_highest_rate_nothing_is_in_time_says_so() -> None:
    best, trials = asyncio.run(highest_rate(Machine(0.1).measure, 8.0))
    assert best is None
    assert trials[-1].rate_fps == LEAST_FPS


def test_highest_rate_everything_is_in_time_ends_at_the_highest_rate() -> None:
    best, _ = asyncio.run(highest_rate(Machine(1e9).measure, 8000.0))
    assert best is not None
    assert best.rate_fps == MOST_FPS


@pytest.mark.parametrize(
    ("frames", "in_time", "is_in_time"),
    [(1000, 999, True), (1000, 998, False), (2000, 1998, True), (999, 998, False), (100, 100, True), (0, 0, False)],
)
def test_trial_is_in_time_by_999_of_1000(frames: int, in_time: int, is_in_time: bool) -> None:
    assert Trial(1.0, frames, in_time).is_in_time is is_in_time
