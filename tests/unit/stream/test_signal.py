"""A signal wakes whoever waits, loses nothing that was set before, and ends a wait in time."""

from __future__ import annotations

import asyncio

from inspector.stream.pipeline.ticket import Signal


async def test_signal_set_before_the_wait_is_not_lost_and_counts_once() -> None:
    signal = Signal()
    signal.set()
    signal.set()
    await signal.wait()
    waiting = asyncio.create_task(signal.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    signal.set()
    await waiting


async def test_signal_wakes_all_tasks_that_wait() -> None:
    signal = Signal()
    waiting = [asyncio.create_task(signal.wait(limit_s)) for limit_s in (None, 3600.0, None)]
    await asyncio.sleep(0)
    signal.set()
    await asyncio.gather(*waiting)


async def test_signal_whose_wait_has_ended_keeps_what_is_set_before_the_task_goes_on() -> None:
    signal = Signal()
    waiting = asyncio.create_task(signal.wait(0.0))
    for _ in range(100):
        await asyncio.sleep(0)
        if any(future.done() for future in signal._waiting):
            break
    assert not waiting.done()
    signal.set()
    await waiting
    await signal.wait()


async def test_signal_ends_a_wait_for_one_task_only() -> None:
    signal = Signal()
    patient = asyncio.create_task(signal.wait())
    await signal.wait(0.0)
    await asyncio.sleep(0)
    assert not patient.done()
    signal.set()
    await patient


async def test_signal_forgets_a_wait_that_was_cancelled() -> None:
    signal = Signal()
    waiting = asyncio.create_task(signal.wait(3600.0))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not signal._waiting
    signal.set()
    await signal.wait()
