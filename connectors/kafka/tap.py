"""Copies of one camera's new frames on Kafka, for an enrolment beside a running agent.

The consumer joins no group and commits nothing, so that the agents' group neither rebalances nor loses a record.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Self

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from connectors.kafka.records import CameraFinder, payload_of
from connectors.kafka.wire.batches import ensure_header_names_are_taken
from connectors.kafka.wire.client import client_options, ensure_usable
from connectors.kafka.wire.refusal import translated
from inspector.config.config import Config
from inspector.config.line_sections import CameraSection


class KafkaTap:
    """A FrameTap. Entered means that every partition is read from its end. Raises BrokerRefused, BrokerUnavailable."""

    def __init__(self, config: Config, camera: CameraSection) -> None:
        self._config = config
        self._settings = config.kafka
        self._camera = camera
        self._finder = CameraFinder(config)
        self._consumer: AIOKafkaConsumer | None = None

    @property
    def name(self) -> str:
        return f"Kafka topic {self._settings.topic_pattern or ', '.join(self._topics)}"

    async def __aenter__(self) -> Self:
        await ensure_usable(self._settings, self._topics)
        ensure_header_names_are_taken()
        consumer = AIOKafkaConsumer(
            **client_options(self._settings, f"{self._config.agent.name}-enroll"),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="latest",
            max_partition_fetch_bytes=self._settings.max_frame_bytes,
        )
        consumer.subscribe(topics=self._topics, pattern=self._settings.topic_pattern)
        try:
            await consumer.start()
            await consumer.seek_to_end()
            for partition in consumer.assignment():
                await consumer.position(partition)  # the end is fixed now, because the first fetch may see a later end
        except (KafkaError, OSError) as failure:
            await self._stop(consumer)
            raise translated(failure, self._settings.bootstrap) from failure
        except BaseException:
            await self._stop(consumer)
            raise
        self._consumer = consumer
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._consumer is not None:
            await self._stop(self._consumer)

    async def frames(self) -> AsyncIterator[bytes]:
        """Encoded images of this camera as they come, without end. Raises BrokerRefused, BrokerUnavailable."""
        if self._consumer is None:
            return
        try:
            async for record in self._consumer:
                if self._finder.find(record) == self._camera:
                    yield payload_of(record, self._camera)
        except (KafkaError, OSError) as failure:
            raise translated(failure, self._settings.bootstrap) from failure

    @property
    def _topics(self) -> tuple[str, ...]:
        return () if self._settings.topic_pattern else self._config.kafka_topics

    async def _stop(self, consumer: AIOKafkaConsumer) -> None:
        with contextlib.suppress(KafkaError, OSError):
            await consumer.stop()
