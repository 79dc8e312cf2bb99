"""Holes in the offsets of a partition: removed records are told, and those of compaction and transactions are not."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from connectors.kafka.wire.removed import RemovedRecords
from tests.brokers import Notebook, RunningClock

PARTITION = TopicPartition("frames", 2)


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
