"""Counts that take long: made once for all who ask, and shown with their age while they are made anew."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from inspector.console import lately
from inspector.console.lately import Counted, Lately

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
FRESH = timedelta(seconds=10)
LATER = NOW + FRESH + timedelta(seconds=1)


class Counter:
    """Counts how often it was asked. Answers once `gate` is set."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.gate = asyncio.Event()
        if is_open:
            self.gate.set()
        self.times = 0
        self.at_once = 0
        self.most_at_once = 0

    async def __call__(self) -> int:
        self.times += 1
        number = self.times
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.gate.wait()
        finally:
            self.at_once -= 1
        return number


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lately, "FIRST_WAIT_S", 0.0)
    monkeypatch.setattr(lately, "AGAIN_WAIT_S", 0.0)


@pytest.fixture
def counts() -> Lately[str, int]:
    return Lately[str, int](FRESH.total_seconds())


async def test_old_count_is_shown_as_old_while_one_new_count_is_made(counts: Lately[str, int]) -> None:
    counter = Counter()
    await counts.get("q", NOW, counter)
    await counts.settled()
    counter.gate.clear()
    for _ in range(5):
        assert await counts.get("q", LATER, counter) == Counted(1, NOW, is_old=True)
    counter.gate.set()
    await counts.settled()
    assert await counts.get("q", LATER, counter) == Counted(2, LATER)
    assert counter.times == 2


async def test_count_that_was_never_made_is_not_waited_for_long(counts: Lately[str, int]) -> None:
    counter = Counter(is_open=False)
    assert await counts.get("q", NOW, counter) is None
    assert await counts.get("q", NOW, counter) is None
    counter.gate.set()
    await counts.settled()
    assert await counts.get("q", NOW, counter) == Counted(1, NOW)


async def test_count_of_more_than_an_hour_ago_is_not_shown(counts: Lately[str, int]) -> None:
    counter = Counter()
    await counts.get("q", NOW, counter)
    await counts.settled()
    counter.gate.clear()
    assert await counts.get("q", NOW + lately.SHOWN_FOR + FRESH, counter) is None
    await counts.close()


async def test_count_of_a_clock_that_was_set_back_is_not_shown(counts: Lately[str, int]) -> None:
    counter = Counter()
    await counts.get("q", NOW, counter)
    await counts.settled()
    counter.gate.clear()
    assert await counts.get("q", NOW - 2 * FRESH, counter) is None
    await counts.close()


async def test_one_count_is_made_at_a_time(counts: Lately[str, int]) -> None:
    counter = Counter(is_open=False)
    for question in ("a", "b", "c"):
        assert await counts.get(question, NOW, counter) is None
    counter.gate.set()
    await counts.settled()
    assert (counter.times, counter.most_at_once) == (3, 1)


async def test_failure_is_told_and_the_next_one_who_asks_has_it_counted_again(
    counts: Lately[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()

    async def fail() -> int:
        await gate.wait()
        raise ValueError("no store")

    assert await counts.get("q", NOW, fail) is None  # it fails when nobody waits any more
    gate.set()
    await counts.settled()
    monkeypatch.setattr(lately, "FIRST_WAIT_S", 60.0)
    with pytest.raises(ValueError, match="no store"):
        await counts.get("q", NOW, fail)
    assert await counts.get("q", NOW, Counter()) == Counted(1, NOW)


async def test_large_counts_are_forgotten_first_come_first_gone_and_the_last_one_stays() -> None:
    counts = Lately[str, int](FRESH.total_seconds(), lambda _: lately.MOST_WEIGHT)
    counter = Counter()
    for question in ("a", "b"):
        await counts.get(question, NOW, counter)
        await counts.settled()
    assert await counts.get("b", NOW, counter) == Counted(2, NOW)
    assert await counts.get("a", NOW, counter) == Counted(3, NOW)


async def test_closing_ends_what_is_being_counted(counts: Lately[str, int]) -> None:
    counter = Counter(is_open=False)
    await counts.get("q", NOW, counter)
    await counts.close()
    assert (counter.times, counter.at_once) == (1, 0)
    await counts.settled()
