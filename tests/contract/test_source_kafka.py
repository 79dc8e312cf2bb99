"""The Kafka source passes the contract of all sources, against a real Apache Kafka."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from connectors.kafka.source import KafkaSource
from inspector.config.config import Config
from inspector.testing.edges import FakeDeadLetters
from inspector.testing.source_contract import SourceContract
from tests.brokers import Notebook, RunningClock, until
from tests.kafka_broker import KafkaTopics, kafka_config


class KafkaRig:
    carries_properties = True
    marks_redelivery = False

    def __init__(self, kafka: KafkaTopics, topic: str, config: Config) -> None:
        self._kafka = kafka
        self._topic = topic
        self._config = config
        self.source = self._new_source()

    def _new_source(self) -> KafkaSource:
        return KafkaSource(self._config, RunningClock(), Notebook(), FakeDeadLetters())

    async def send(self, payload: bytes, properties: Mapping[str, str]) -> None:
        headers = [(name, value.encode()) for name, value in properties.items()]
        await self._kafka.send_raw(self._topic, payload, headers, key="cam1")

    async def restart(self) -> None:
        await self.source.__aexit__()
        self.source = self._new_source()
        await self.source.__aenter__()

    async def break_link(self) -> bool:
        """The group is balanced anew, as when another agent comes and goes."""
        generation = self.source._generation
        assert self.source._consumer is not None
        self.source._consumer._coordinator.request_rejoin()
        await until(lambda: self.source._generation > generation and self.source.is_connected)
        return True


@pytest.fixture
async def rig(kafka: KafkaTopics, tmp_path: Path) -> AsyncIterator[KafkaRig]:
    topic = await kafka.create()
    rig = KafkaRig(kafka, topic, kafka_config(kafka, topic, tmp_path))
    await rig.source.__aenter__()
    yield rig
    await rig.source.__aexit__()


class TestKafkaSource(SourceContract):
    pass
