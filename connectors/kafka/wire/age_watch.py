"""Asks for the ends of the logs of all partitions again and again, so that the age of each record has a bound.

A consumer is told the high watermark, not the end of the log: a record is in the leader's log before it is replicated,
and may stay there unseen for as long as a replica stands still. Judged by the high watermark, such a record would look
new. So the leader is asked as a tool that looks at a log is (replica id -2), whom Apache Kafka tells the end of the
log. A second question, as a consumer, shows that the broker still led the partition after the first answer.

Each broker is asked by itself: one that stands still makes the bounds of its own partitions old, and no others.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Final

from aiokafka import AIOKafkaClient, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.protocol.offset import OffsetRequest, OffsetResetStrategy

from connectors.kafka.wire.client import client_options
from connectors.kafka.wire.lane import Lane
from inspector.config.config import Config
from inspector.ports import Clock

ANSWER_S: Final = 5.0
CONSUMER: Final = -1
LOG_READER: Final = -2
UNCOMMITTED: Final = 0
NO_ERROR: Final = 0

Lanes = Callable[[], Mapping[TopicPartition, Lane]]
_Questions = dict[TopicPartition, tuple[Lane, int]]


class AgeWatch:
    """Has a client of its own, whose questions don't wait behind the fetches of the consumer."""

    def __init__(self, config: Config, clock: Clock, period_ms: float) -> None:
        self._config = config
        self._clock = clock
        self._period_ms = period_ms
        self._asked: set[int] = set()
        self._topics: set[str] = set()

    async def run(self, lanes: Lanes) -> None:
        """Bound the ages of the lanes' records until cancelled."""
        client = AIOKafkaClient(**client_options(self._config.kafka, f"{self._config.agent.name}-age"))
        try:
            while True:
                with contextlib.suppress(KafkaError):  # the link's own watch tells that the cluster is away
                    await client.bootstrap()
                    break
                await asyncio.sleep(self._config.kafka.reconnect_min_s)
            async with asyncio.TaskGroup() as tasks:
                while True:
                    await asyncio.sleep(self._period_ms / 1000)
                    for leader, questions in self._due(client, lanes()).items():
                        self._asked.add(leader)
                        tasks.create_task(self._ask(client, leader, questions))
        finally:
            self._asked.clear()
            await client.close()

    def _due(self, client: AIOKafkaClient, lanes: Mapping[TopicPartition, Lane]) -> dict[int, _Questions]:
        """The questions to send now, by leader. No broker has more than one at a time."""
        now_ns = self._clock.monotonic_ns()
        topics = {partition.topic for partition in lanes}
        if not topics <= self._topics:
            self._topics = topics
            client.set_topics(topics)
        due: dict[int, _Questions] = {}
        for partition, lane in lanes.items():
            if not lane.is_age_watched:
                lane.watch_age(int(self._period_ms * 1e6), now_ns)
            leader = client.cluster.leader_for_partition(partition)
            if leader is None or leader < 0:
                client.force_metadata_update()
            elif leader not in self._asked and (number := lane.asked(now_ns)) is not None:
                due.setdefault(leader, {})[partition] = lane, number
        return due

    async def _ask(self, client: AIOKafkaClient, leader: int, questions: _Questions) -> None:
        ends: dict[TopicPartition, int] = {}
        try:
            with contextlib.suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(ANSWER_S):
                    ends = await _ends(client, leader, LOG_READER, questions)
                    led = await _ends(client, leader, CONSUMER, questions)
                    ends = {partition: end for partition, end in ends.items() if partition in led}
        finally:
            self._asked.discard(leader)
        now_ns = self._clock.monotonic_ns()
        for partition, (lane, number) in questions.items():
            if partition in ends:
                lane.answered(number, ends[partition], now_ns)
            else:
                lane.unanswered(now_ns)
        if len(ends) < len(questions):
            client.force_metadata_update()


async def _ends(
    client: AIOKafkaClient, leader: int, asker: int, partitions: Mapping[TopicPartition, object]
) -> dict[TopicPartition, int]:
    """The ends that this broker tells such an asker; without partitions that it has or leads no more.

    Raises KafkaError.
    """
    by_topic: dict[str, list[tuple[int, int]]] = {}
    for partition in partitions:
        by_topic.setdefault(partition.topic, []).append((partition.partition, OffsetResetStrategy.LATEST))
    response = await client.send(leader, OffsetRequest(asker, UNCOMMITTED, list(by_topic.items())))
    return {
        TopicPartition(topic, number): end
        for topic, answers in response.topics
        for number, error, _time, end in answers
        if error == NO_ERROR
    }
