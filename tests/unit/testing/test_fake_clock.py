"""The clock of tests: time passes when it is told to, and sleepers wake in order."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from inspector.testing.clock import START, FakeClock, settle


async def test_advance_moves_both_clocks_together() -> None:
    clock = FakeClock()
    before_ns = clock.monotonic_ns()
    clock.advance(1.5)
    assert clock.now() == START + timedelta(seconds=1.5)
    assert clock.monotonic_ns() - before_ns == 1_500_000_000


async def test_jump_wall_leaves_ages_and_sleepers_alone() -> None:
    clock = FakeClock()
    before_ns = clock.monotonic_ns()
    clock.jump_wall(-3600)
    assert clock.now() == START - timedelta(hours=1)
    assert clock.monotonic_ns() == before_ns


async def test_advance_backwards_is_refused() -> None:
    with pytest.raises(ValueError, match="backwards"):
        FakeClock().advance(-1)


async def test_elapse_wakes_sleepers_in_the_order_of_their_deadlines() -> None:
    clock = FakeClock()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, *naps: float) -> None:
        for nap in naps:
            await clock.sleep(nap)
            woken.append((name, (clock.now() - START).total_seconds()))

    async with asyncio.TaskGroup() as group:
        group.create_task(sleeper("slow", 3.0))
        group.create_task(sleeper("quick", 1.0, 1.0, 0.0, 1.5))
        await clock.elapse(10)
    assert woken == [("quick", 1.0), ("quick", 2.0), ("quick", 2.0), ("slow", 3.0), ("quick", 3.5)]
    assert clock.now() == START + timedelta(seconds=10)


async def test_sleep_that_is_not_over_goes_on() -> None:
    clock = FakeClock()
    nap = asyncio.create_task(clock.sleep(1.0))
    await settle()
    clock.advance(0.999)
    await settle()
    assert not nap.done()
    clock.advance(0.001)
    await nap


async def test_sleep_that_is_cancelled_is_forgotten() -> None:
    clock = FakeClock()
    nap = asyncio.create_task(clock.sleep(1.0))
    await settle()
    nap.cancel()
    await settle()
    assert clock.next_deadline_ns is None
    await clock.elapse(2)
