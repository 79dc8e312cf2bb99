"""Arrangements of the backbone alone; sessions of a real engine are in the acceptance test."""

from __future__ import annotations

from inspector.benching.alone import Arrangement, Passed, arrangements


def test_arrangements_of_two_cores_keep_both_busy() -> None:
    assert arrangements(2, (1, 8)) == [
        Arrangement(2, 1, 1), Arrangement(2, 1, 8), Arrangement(1, 2, 1), Arrangement(1, 2, 8),
    ]  # fmt: skip


def test_arrangements_of_many_cores_go_by_powers_of_two_up_to_all() -> None:
    assert [(each.callers, each.threads) for each in arrangements(12, (1,))] == [
        (12, 1),
        (6, 2),
        (3, 4),
        (1, 8),
        (1, 12),
    ]
    assert [(each.callers, each.threads) for each in arrangements(1, (1,))] == [(1, 1)]


def test_arrangements_of_one_caller_have_all_cores() -> None:
    assert arrangements(4, (1, 2), one_caller=True) == [Arrangement(1, 4, 1), Arrangement(1, 4, 2)]


def test_passed_counts_images_and_takes_the_median_call() -> None:
    passed = Passed(images=40, seconds=2.0, calls_ms=(1.0, 9.0, 2.0))
    assert (passed.fps, passed.call_p50_ms) == (20.0, 2.0)
