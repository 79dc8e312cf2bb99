"""What counts as growth in a soak."""

from __future__ import annotations

import pytest

from benchmarks.soak import FIGURES, Soak


def soaked(resident_mib: list[float], tasks: list[float]) -> Soak:
    others = dict.fromkeys(FIGURES, 20.0)
    pairs = zip(resident_mib, tasks, strict=True)
    readings = [
        (float(minute), {**others, "process_resident_mib": mib, "process_tasks": count})
        for minute, (mib, count) in enumerate(pairs)
    ]
    return Soak(readings=readings)


@pytest.mark.parametrize(
    ("resident_mib", "tasks", "grown"),
    [
        ([200, 290] + [300] * 6, [30] * 8, []),
        ([100, 200, 300, 301, 302, 303, 304, 305], [30] * 8, []),
        ([300] * 2 + [300, 300, 304, 306, 308, 308], [30] * 8, ["process_resident_mib from 300 to 308"]),
        ([300] * 8, [30, 30, 30, 30, 60, 30, 32, 32], []),
        ([300] * 8, [30, 30, 30, 30, 33, 34, 35, 36], ["process_tasks from 30 to 35.5"]),
    ],
)
def test_growth_is_told_after_the_time_to_settle(
    resident_mib: list[float], tasks: list[float], grown: list[str]
) -> None:
    assert soaked(resident_mib, tasks).grown(settle_minutes=2) == grown


def test_figures_that_were_never_read_are_no_proof() -> None:
    assert len(Soak().grown(0)) == len(FIGURES)
