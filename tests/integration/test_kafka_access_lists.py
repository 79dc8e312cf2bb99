"""The rights of `configs/kafka/access-lists.sh` on a real Kafka: each user has its own topics and nothing else."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError

from tests.kafka_broker import Kafka, KafkaTopics

SCRIPT = Path(__file__).parents[2] / "configs" / "kafka" / "access-lists.sh"
PASSWORD = "right"
AGENT, CAMERA, OWN_CAMERA, REPORTS = "agent", "camera-cam1", "camera-cam3", "reports"
FRAMES, OWN_FRAMES, VERDICTS, DEAD_LETTERS = "frames", "frames-cam3", "verdicts", "dead-letters"
WRITES = {(CAMERA, FRAMES), (OWN_CAMERA, OWN_FRAMES), (AGENT, VERDICTS), (AGENT, DEAD_LETTERS)}
READS = {(AGENT, FRAMES), (AGENT, OWN_FRAMES), (REPORTS, VERDICTS)}
CELLS = [
    (user, topic)
    for user in (AGENT, CAMERA, OWN_CAMERA, REPORTS)
    for topic in (FRAMES, OWN_FRAMES, VERDICTS, DEAD_LETTERS)
]


class Plant:
    """A cluster with the four topics under names of their own, and the users of the script."""

    def __init__(self, server: Kafka) -> None:
        self.server = server
        ending = uuid.uuid4().hex[:8]
        self.topics = {name: f"{name}-{ending}" for name in (FRAMES, OWN_FRAMES, VERDICTS, DEAD_LETTERS)}
        self.group = f"inspector-{ending}"

    def set_up(self) -> None:
        for user in (CAMERA, OWN_CAMERA, REPORTS):
            self.server.add_user(user, PASSWORD)
        names = {
            "AGENT": AGENT,
            "GROUP": self.group,
            "CAMERAS": CAMERA,
            "FRAMES": self.topics[FRAMES],
            "OWN_FRAMES": f"{OWN_CAMERA}={self.topics[OWN_FRAMES]}",
            "VERDICTS": self.topics[VERDICTS],
            "DEAD_LETTERS": self.topics[DEAD_LETTERS],
            "READERS": REPORTS,
            "KAFKA_ACLS": str(self.server.tool("kafka-acls.sh", "org.apache.kafka.tools.AclCommand")),
        }
        done = subprocess.run(
            [SCRIPT, self.server.bootstrap],
            env=os.environ | names,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        asyncio.run(self._fill())

    async def _fill(self) -> None:
        topics = KafkaTopics(self.server.bootstrap)
        for name in self.topics.values():
            await topics.create_named(name)
            await topics.send(name, b"already there")

    def client(self, user: str) -> dict[str, Any]:
        return {
            "bootstrap_servers": self.server.secure,
            "security_protocol": "SASL_SSL",
            "ssl_context": ssl.create_default_context(cafile=str(self.server.folder / "ca.pem")),
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": user,
            "sasl_plain_password": PASSWORD,
        }

    async def writes(self, user: str, topic: str) -> bool:
        try:
            async with asyncio.timeout(60), AIOKafkaProducer(**self.client(user)) as producer:
                await producer.send_and_wait(self.topics[topic], b"x")
        except TopicAuthorizationFailedError:
            return False
        return True

    async def reads(self, user: str, topic: str) -> bool:
        consumer = AIOKafkaConsumer(**self.client(user), auto_offset_reset="earliest", enable_auto_commit=False)
        try:
            async with asyncio.timeout(60), consumer:
                if self.topics[topic] not in await consumer.topics():
                    return False  # it may not even know of it, and would wait for ever
                partition = TopicPartition(self.topics[topic], 0)
                consumer.assign([partition])
                await consumer.seek_to_beginning(partition)
                await consumer.getone()
        except TopicAuthorizationFailedError:
            return False
        return True

    async def joins(self, user: str, group: str, topic: str) -> bool:
        consumer = AIOKafkaConsumer(
            self.topics[topic], **self.client(user), group_id=group, auto_offset_reset="earliest"
        )
        try:
            async with asyncio.timeout(60):
                await consumer.start()
                await consumer.getone()
        except GroupAuthorizationFailedError:
            return False
        finally:
            await consumer.stop()  # also where it could not start
        return True


@pytest.fixture(scope="module")
def plant(kafka_server: Kafka) -> Plant:
    made = Plant(kafka_server)
    kafka_server.ensure_running()
    made.set_up()
    return made


@pytest.mark.parametrize(("user", "topic"), CELLS)
async def test_user_writes_its_own_topics_and_no_others(plant: Plant, user: str, topic: str) -> None:
    assert await plant.writes(user, topic) == ((user, topic) in WRITES)


@pytest.mark.parametrize(("user", "topic"), CELLS)
async def test_user_reads_what_it_has_to_and_nothing_else(plant: Plant, user: str, topic: str) -> None:
    assert await plant.reads(user, topic) == ((user, topic) in READS)


async def test_group_of_the_agents_takes_agents_only(plant: Plant) -> None:
    assert await plant.joins(AGENT, plant.group, FRAMES)
    assert await plant.joins(REPORTS, f"{REPORTS}-monthly", VERDICTS)
    assert not await plant.joins(REPORTS, plant.group, VERDICTS), "else it would take partitions from an agent"
