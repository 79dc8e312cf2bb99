"""Whoever waits for a thing to be unused gets it alone, and nobody waits for ever."""

from __future__ import annotations

import asyncio

from inspector.store.uses import Uses


async def test_none_begins_when_the_last_use_has_ended_and_newcomers_wait_for_its_end() -> None:
    uses, told, has_ended = Uses(), [], asyncio.Event()

    async def old() -> None:
        async with uses.one():
            told.append("old begins")
            await has_ended.wait()
            told.append("old ends")

    async def alone() -> None:
        async with uses.none(longest_s=60):
            told.append("alone begins")
            await asyncio.sleep(0)
            told.append("alone ends")

    async def new() -> None:
        async with uses.one():
            told.append("new begins")

    async with asyncio.TaskGroup() as group:
        for each in (old(), alone(), new(), alone()):
            group.create_task(each)
            await asyncio.sleep(0)
        has_ended.set()
    assert told[:2] == ["old begins", "old ends"]
    assert sorted(told[2:6]) == ["alone begins", "alone begins", "alone ends", "alone ends"]
    assert told[6:] == ["new begins"]


async def test_none_begins_after_its_longest_wait_though_a_use_goes_on() -> None:
    uses = Uses()
    async with uses.one(), uses.none(longest_s=0.01):
        pass
    async with uses.one():  # it is open again
        pass


async def test_none_that_is_cancelled_lets_newcomers_in() -> None:
    uses = Uses()
    async with uses.one():
        waits = asyncio.create_task(wait_for_none(uses))
        await asyncio.sleep(0)
        waits.cancel()
        await asyncio.gather(waits, return_exceptions=True)
        async with asyncio.timeout(10), uses.one():
            pass


async def wait_for_none(uses: Uses) -> None:
    async with uses.none(longest_s=60):
        raise AssertionError("a use goes on")
