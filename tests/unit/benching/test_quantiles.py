"""Percentile arithmetic."""

from __future__ import annotations

import pytest

from inspector.benching.quantiles import quantile, quantiles


def test_quantiles_of_a_thousand_values_are_measured_values() -> None:
    assert quantiles([float(value) for value in range(1000, 0, -1)]) == {
        "p50": 500.0, "p95": 950.0, "p99": 990.0, "p999": 999.0, "max": 1000.0,
    }  # fmt: skip


def test_quantiles_of_few_values_take_the_largest_for_what_they_can_not_tell() -> None:
    assert quantiles([3.0, 1.0, 2.0]) == {"p50": 2.0, "p95": 3.0, "p99": 3.0, "p999": 3.0, "max": 3.0}


def test_quantiles_count_lost_frames_as_slower_than_all() -> None:
    found = quantiles([float(value) for value in range(1, 981)], lost=20)
    assert (found["p50"], found["p95"], found["p99"], found["p999"], found["max"]) == (500.0, 950.0, None, None, None)


def test_quantiles_of_nothing_are_unknown() -> None:
    assert set(quantiles([]).values()) == {None}
    assert set(quantiles([], lost=4).values()) == {None}


@pytest.mark.parametrize(("share", "rank"), [(0.5, 1), (0.51, 2), (1.0, 2)])
def test_quantile_takes_the_next_rank_up(share: float, rank: int) -> None:
    assert quantile([1.0, 2.0], share) == float(rank)
