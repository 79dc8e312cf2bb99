"""Tells of records that the cluster removed before this agent read them: their parts are inspected by nobody.

Offsets also have holes where nothing is missing, as compaction and transactions make them. So only what lies before the
beginning of the partition counts, which is asked for at the partition's assignment and wherever a hole shows.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from inspector.domain import Event, Severity
from inspector.ports import Clock, Telemetry

KIND: Final = "frames_removed"
AGAIN_S: Final = 1.0
"""Time between two looks. Transactions make a hole with each of their ends."""


class RemovedRecords:
    """Is given each hole in the offsets of a partition, and asks for the partition's beginning."""

    def __init__(self, clock: Clock, telemetry: Telemetry) -> None:
        self._clock = clock
        self._telemetry = telemetry
        self._holes: dict[TopicPartition, tuple[int, int]] = {}
        self._has_holes = asyncio.Event()

    def suspect(self, partition: TopicPartition, expected: int, came: int) -> None:
        """The record at `came` came in place of the one at `expected`. Holes that wait are looked at as one."""
        first, _ = self._holes.get(partition, (expected, came))
        self._holes[partition] = first, came
        self._has_holes.set()

    async def run(self, consumer: AIOKafkaConsumer) -> None:
        """Look at holes until cancelled. A partition that does not answer is asked again, and ends nothing."""
        while True:
            await self._has_holes.wait()
            self._has_holes.clear()
            for partition in list(self._holes):
                try:
                    begins = await beginning_of(consumer, partition)
                except KafkaError:
                    self._has_holes.set()
                    continue
                expected, came = self._holes.pop(partition)
                self.note(partition, expected, min(begins, came))
            await self._clock.sleep(AGAIN_S)

    def note(self, partition: TopicPartition, expected: int, begins: int) -> bool:
        """Tell if records from `expected` on are missing because the partition begins after them. Returns whether."""
        if begins <= expected:
            return False
        count, last = begins - expected, begins - 1
        self._telemetry.count("frames_removed", count)
        which = f"record {last} was" if count == 1 else f"records {expected} to {last} were"
        detail = (
            f"{which} removed by the cluster's retention before this agent read them, so nobody judges these frames. "
            "Let the topic keep its records for longer"
        )
        subject = f"{partition.topic}/{partition.partition}"
        self._telemetry.event(Event(self._clock.now(), KIND, Severity.ALARM, subject, detail))
        return True


async def beginning_of(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int:
    """The offset of the partition's oldest record. Raises KafkaError."""
    begins: dict[TopicPartition, int] = await consumer.beginning_offsets([partition])
    return begins[partition]
