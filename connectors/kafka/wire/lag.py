"""Gauges of this agent's backlog in its partitions. The cluster is queried only for the ends of the partitions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from connectors.kafka.wire.lane import Lane
from inspector.ports import Telemetry

LOOK_S: Final = 5.0
ANSWER_S: Final = 5.0

GAUGE: Final = "kafka_lag_frames"

Cameras = Mapping[str, TopicPartition]


class LagWatch:
    """Gauges of unacknowledged frames: one for each partition, and one for each camera with its partition's number."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._told: set[tuple[str, str]] = set()

    async def run(
        self, consumer: AIOKafkaConsumer, lanes: Callable[[], Mapping[TopicPartition, Lane]], cameras: Cameras
    ) -> None:
        """Set the gauges every `LOOK_S` until cancelled, then remove them. `cameras`: each camera's last partition."""
        try:
            while True:
                await asyncio.sleep(LOOK_S)
                self._tell(await _behind(consumer, lanes()), cameras)
        finally:
            self._tell({}, {})

    def _tell(self, behind: Mapping[TopicPartition, int], cameras: Cameras) -> None:
        values = {("partition", f"{each.topic}/{each.partition}"): lag for each, lag in behind.items()}
        values |= {("camera", name): behind[each] for name, each in cameras.items() if each in behind}
        for label, name in self._told - values.keys():
            self._telemetry.gauge(GAUGE, None, **{label: name})
        for (label, name), lag in values.items():
            self._telemetry.gauge(GAUGE, lag, **{label: name})
        self._told = set(values)


async def _behind(consumer: AIOKafkaConsumer, lanes: Mapping[TopicPartition, Lane]) -> dict[TopicPartition, int]:
    """Number of offsets from the acknowledged one to the end, for each partition whose leader answers in time."""
    partitions = [partition for partition in lanes if partition in consumer.assignment()]
    asked = (_behind_in(consumer, partition, lanes[partition]) for partition in partitions)
    found = await asyncio.gather(*asked)
    return {partition: behind for partition, behind in zip(partitions, found, strict=True) if behind is not None}


async def _behind_in(consumer: AIOKafkaConsumer, partition: TopicPartition, lane: Lane) -> int | None:
    # Without an answer, or with partitions moving: it is asked again soon.
    with contextlib.suppress(KafkaError, TimeoutError):
        async with asyncio.timeout(ANSWER_S):
            end: int = (await consumer.end_offsets([partition]))[partition]
            first = lane.first_offset
            return max(0, end - (await consumer.position(partition) if first is None else first))
    return None
