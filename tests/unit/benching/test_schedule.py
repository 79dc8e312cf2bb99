"""When frames are due."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from inspector.benching.schedule import Arrivals, Due, schedule


def test_schedule_periodic_is_evenly_spaced_and_cameras_take_turns() -> None:
    assert schedule(4.0, 5, 2, Arrivals.PERIODIC) == [
        Due(0.0, 0), Due(0.25, 1), Due(0.5, 0), Due(0.75, 1), Due(1.0, 0),
    ]  # fmt: skip


def test_schedule_poisson_of_one_seed_is_the_same_and_of_another_is_not() -> None:
    first, again, other = (schedule(50, 400, 3, Arrivals.POISSON, seed) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_schedule_poisson_has_the_rate_the_spread_and_the_cameras_of_a_poisson_process() -> None:
    plan = schedule(50.0, 20_000, 4, Arrivals.POISSON, seed=3)
    gaps = [after.at_s - before.at_s for before, after in pairwise(plan)]
    mean = sum(gaps) / len(gaps)
    spread = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(1 / 50, rel=0.03)
    assert spread == pytest.approx(mean, rel=0.05)  # of an exponential gap both are 1 / rate
    assert min(gaps) >= 0
    assert all(count == pytest.approx(5000, rel=0.06) for count in Counter(due.camera for due in plan).values())
