"""The watch of the wall clock: a clock that is set, or that is behind the rows, is an event."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from inspector.agent.clock_watch import LEAST_BEHIND, LEAST_STEP, ClockWatch
from inspector.errors import LedgerUnavailable
from tests.brokers import Notebook

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class TwoClocks:
    """A wall clock and a monotonic clock that a test moves apart."""

    def __init__(self) -> None:
        self.wall = NOON
        self.monotonic = timedelta(hours=3)

    def now(self) -> datetime:
        return self.wall

    def monotonic_ns(self) -> int:
        return self.monotonic // timedelta(microseconds=1) * 1000

    async def sleep(self, _seconds: float) -> None:
        raise AssertionError("nobody waits here")

    def run(self, passed: timedelta, *, wall_gains: timedelta = timedelta()) -> None:
        self.monotonic += passed
        self.wall += passed + wall_gains


def watch_of(clock: TwoClocks, notebook: Notebook, newest: datetime | None = None) -> ClockWatch:
    async def newest_row() -> datetime | None:
        return newest

    return ClockWatch(clock, notebook, newest_row)


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (timedelta(days=-3), "set back by 259200 s; it says 2026-02-26T12:00:05.000Z now"),
        (
            timedelta(days=400),
            "set forward by 34560000 s, or this machine stood still; it says 2027-04-05T12:00:05.000Z",
        ),
        (LEAST_STEP, "set forward by 2 s"),
    ],
)
def test_clock_that_is_set_is_told_once(notebook: Notebook, gain: timedelta, words: str) -> None:
    clock = TwoClocks()
    watch = watch_of(clock, notebook)
    clock.run(timedelta(seconds=5), wall_gains=gain)
    watch.look()
    clock.run(timedelta(seconds=5))
    watch.look()
    assert notebook.kinds == ["clock_set"]
    assert words in notebook.events[0].detail


def test_clock_that_is_slewed_is_not_told_however_far_it_goes(notebook: Notebook) -> None:
    clock = TwoClocks()
    watch = watch_of(clock, notebook)
    for _ in range(1000):
        clock.run(timedelta(seconds=5), wall_gains=timedelta(milliseconds=50))
        watch.look()
    assert notebook.events == []


@pytest.mark.parametrize(
    ("newest", "kinds"),
    [
        (None, []),
        (NOON - timedelta(days=9), []),
        (NOON + LEAST_BEHIND, []),
        (NOON + timedelta(days=9), ["clock_behind"]),
    ],
)
async def test_clock_behind_the_newest_row_is_told_at_the_start(
    notebook: Notebook, newest: datetime | None, kinds: list[str]
) -> None:
    await watch_of(TwoClocks(), notebook, newest).compare_with_rows()
    assert notebook.kinds == kinds


async def test_clock_is_not_compared_while_the_store_is_away(notebook: Notebook) -> None:
    async def away() -> datetime | None:
        raise LedgerUnavailable("The database does not answer.")

    await ClockWatch(TwoClocks(), notebook, away).compare_with_rows()
    assert notebook.events == []
