"""A camera's side of Kafka, for the simulator and tests: publishes, and knows what arrived."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from connectors.kafka.producer import Producer
from inspector.config import KafkaSection


class KafkaPublisher:
    """Entered means connected; entering raises BrokerUnavailable or BrokerRefused."""

    def __init__(self, settings: KafkaSection, client_id: str, topic: str) -> None:
        self._topic = topic
        self._producer = Producer(settings, client_id, (topic,))

    async def __aenter__(self) -> Self:
        await self._producer.ensure_started()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._producer.drop()

    async def publish(self, payload: bytes, key: str, headers: Mapping[str, str]) -> None:
        """The cluster has it when this returns. Raises BrokerUnavailable or BrokerRefused; it may have it all the same.

        `key`: the gate of the camera where it has one, else the camera: it keeps the order.
        """
        pairs = [(name, value.encode()) for name, value in headers.items()]
        await self._producer.send(self._topic, payload, key, pairs)
