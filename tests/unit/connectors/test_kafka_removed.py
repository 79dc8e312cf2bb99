"""Holes in the offsets of a partition: removed records are told, and those of compaction and transactions are not."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import LeaderNotAvailableError

from connectors.kafka.wire.removed import RemovedRecords
from tests.brokers import Notebook, RunningClock, until

PARTITION, OTHER = TopicPartition("frames", 2), TopicPartition("frames", 3)


@pytest.mark.parametrize(
    ("begins", "told"),
    [
        (0, None),
        (10, None),
        (11, "record 10 was"),
        (15, "records 10 to 14 were"),
        (90, "records 10 to 19 were"),
    ],
)
async def test_hole_counts_as_far_as_the_partition_begins_after_it(begins: int, told: str | None) -> None:
    notebook = Notebook()

    async def beginning_offsets(partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, begins)

    consumer: Any = SimpleNamespace(beginning_offsets=beginning_offsets)
    removed = RemovedRecords(RunningClock(), notebook)
    running = asyncio.create_task(removed.run(consumer))
    removed.suspect(PARTITION, expected=10, came=20)
    for _ in range(5):
        await asyncio.sleep(0)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    details = [event.detail for event in notebook.events]
    assert len(details) == (told is not None)
    assert all(detail.startswith(told or "") for detail in details)


async def test_partition_that_does_not_answer_is_asked_again_and_ends_nothing() -> None:
    notebook, asked = Notebook(), []

    async def beginning_offsets(partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        asked.append(partitions)
        if len(asked) < 3 and PARTITION in partitions:
            raise LeaderNotAvailableError
        return dict.fromkeys(partitions, 15)

    class Hurried(RunningClock):
        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(0)

    consumer: Any = SimpleNamespace(beginning_offsets=beginning_offsets)
    removed = RemovedRecords(Hurried(), notebook)
    removed.suspect(PARTITION, expected=10, came=20)
    removed.suspect(OTHER, expected=13, came=20)
    running = asyncio.create_task(removed.run(consumer))
    await until(lambda: len(notebook.events) == 2)
    assert not running.done()
    running.cancel()
    assert [event.subject for event in notebook.events] == ["frames/3", "frames/2"], "one holds up no other one"
