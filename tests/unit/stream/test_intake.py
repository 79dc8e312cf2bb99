"""Large frames are hashed on a thread, and every frame is admitted in the order in which its source delivered it."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import threading
from typing import Any

import pytest

from inspector.domain import Outcome
from inspector.stream.pipeline.intake import MOST_AT_ONCE, SMALL_BYTES
from tests.unit.stream.test_pipeline import FREE, GOOD, Plant, settings, until

LARGE = GOOD + b"#" + bytes(SMALL_BYTES)


class HashingWatch:
    """Stands in for `hashlib.sha256`: notes the thread of each large payload, and holds it until it is let go."""

    def __init__(self, *, is_held: bool = False) -> None:
        self.threads: list[int] = []
        self.has_begun = threading.Event()
        self.may_go_on = threading.Event()
        if not is_held:
            self.may_go_on.set()
        self._sha256 = hashlib.sha256

    def __call__(self, payload: bytes = b"", **options: Any) -> Any:
        if len(payload) > SMALL_BYTES:
            self.threads.append(threading.get_ident())
            self.has_begun.set()
            self.may_go_on.wait(10)
        return self._sha256(payload, **options)


async def test_take_large_frame_is_not_hashed_on_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = HashingWatch()
    monkeypatch.setattr(hashlib, "sha256", watch)
    plant = Plant(FREE)
    async with plant.running():
        for number in range(5):
            plant.push(LARGE, frame_id=number)
        await plant.has_rows(5)
    assert len(watch.threads) == 5
    assert threading.get_ident() not in watch.threads
    assert [row.frame_sha256 for row in plant.rows()] == [watch._sha256(LARGE).hexdigest()] * 5


async def test_take_frame_behind_one_that_is_hashed_is_admitted_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the large frame's part would count as missed."""
    watch = HashingWatch(is_held=True)
    monkeypatch.setattr(hashlib, "sha256", watch)
    plant = Plant(settings(window_ms=10_000))
    async with plant.running():
        plant.push(GOOD, 1)
        plant.push(LARGE, 2)
        plant.push(GOOD, 3)
        await plant.has_rows(1)
        await until(watch.has_begun.is_set)
        assert plant.reached.count("admitted") == 1
        watch.may_go_on.set()
        await plant.has_rows(3)
    assert [(row.trigger_id, row.outcome) for row in plant.rows()] == [(n, Outcome.PASS) for n in (1, 2, 3)]
    assert sorted(told.trigger_id for told in plant.line.told) == [1, 2, 3], "two workers: in any order"


async def test_stop_frame_that_is_being_hashed_is_drained(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = HashingWatch(is_held=True)
    monkeypatch.setattr(hashlib, "sha256", watch)
    plant = Plant(FREE)
    async with plant.running() as pipeline:
        plant.push(LARGE, frame_id=1)
        await until(watch.has_begun.is_set)
        pipeline.stop()
        await until(lambda: plant.source._is_stopped)
        watch.may_go_on.set()
    assert [row.frame_id for row in plant.rows()] == ["1"]
    assert not plant.source.broker.kept


async def test_run_many_frames_at_once_lets_the_loop_go_on_between_them() -> None:
    plant = Plant(settings(window_ms=10_000))
    for number in range(1, 51):
        plant.push(GOOD, number)
    admitted = [0]

    async def count() -> None:
        while True:
            await asyncio.sleep(0)
            admitted.append(plant.reached.count("admitted"))

    counting = asyncio.ensure_future(count())
    async with plant.running():
        await plant.has_rows(50)
    counting.cancel()
    assert max(now - before for before, now in itertools.pairwise(admitted)) <= MOST_AT_ONCE
