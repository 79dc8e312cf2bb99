"""A camera's side of Kafka, for the simulator and tests: publishes frames and learns whether they arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, Self

from connectors.kafka.records import CAMERA_HEADER
from connectors.kafka.wire.producer import Producer
from inspector.config.broker_sections import KafkaSection
from inspector.errors import BrokerUnavailable

RETRY_S: Final = 0.2


class KafkaPublisher:
    """Publishes a camera's frames to Kafka. Entered means connected; entering raises BrokerUnavailable, BrokerRefused.

    `key` is the camera's gate if it has one, else the camera. Frames under one key keep their order.
    """

    def __init__(self, settings: KafkaSection, camera: str, key: str) -> None:
        self._camera = camera
        self._key = key
        self._producer = Producer(settings, f"{camera}-simulated")

    async def __aenter__(self) -> Self:
        await self._producer.ensure_started()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._producer.drop()

    async def publish(self, topic: str, payload: bytes, properties: Mapping[str, str], /) -> None:
        """Publish a frame; the cluster has it when this returns.

        Raises BrokerUnavailable or BrokerRefused; the cluster may have the frame even then.
        `properties` become headers, beside the camera's name.
        """
        headers = [(name, value.encode()) for name, value in {CAMERA_HEADER: self._camera, **properties}.items()]
        await self._producer.send(topic, payload, self._key, headers)

    async def ensure_connected(self, timeout_s: float, /) -> None:
        """Connect, if there is no connection. Raises BrokerUnavailable if that takes longer than allowed."""
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + timeout_s
        while True:
            try:
                await self._producer.ensure_started()
            except BrokerUnavailable:
                if loop.time() > give_up_s:
                    raise
                await asyncio.sleep(RETRY_S)
            else:
                return
