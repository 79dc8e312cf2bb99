"""Two agents share the cameras of a Kafka topic and one PostgreSQL; one is killed and another joins meanwhile."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from tests.agents import Agent
from tests.kafka_broker import KafkaTopics
from tests.parts import encoded
from tests.plant_database import PlantDatabase

pytestmark = pytest.mark.acceptance

CAMERAS = ("cam1", "cam2", "cam5", "cam7")  # by their hash, each on a partition of its own of eight
ROUND = 15
GROUP = """
[kafka]
bootstrap = "{bootstrap}"
group = "g-{topic}"
topics = ["{topic}"]
session_timeout_ms = 3000
handover_ms = 1000
reconnect_max_s = 0.3
"""
CAMERA = '[[camera]]\nname = "{name}"\nsource = "kafka"\non_unjudged = "reject"\nmax_mib = 4\n'


class Group:
    """Agents of different names on one database and one topic, and the frames that were sent to them."""

    def __init__(self, make: Callable[[str], Agent], kafka: KafkaTopics, database: PlantDatabase) -> None:
        self._make = make
        self._database = database
        self._kafka = kafka
        self._topic = asyncio.run(kafka.create(8))
        self.sent: Counter[str] = Counter()

    def join(self, name: str) -> Agent:
        config = GROUP.format(bootstrap=self._kafka.bootstrap, topic=self._topic) + self._database.config
        agent = self._make(config + "".join(CAMERA.format(name=camera) for camera in CAMERAS))
        agent.config.write_text(agent.config.read_text().replace('name = "agent"', f'name = "{name}"', 1))
        return agent.start()

    def send_round(self) -> None:
        """ROUND frames of each camera, by turns, every one another picture."""
        asyncio.run(self._send_round())

    async def _send_round(self) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self._kafka.bootstrap) as producer:
            for _ in range(ROUND):
                for camera in CAMERAS:
                    number = self.sent[camera]
                    self.sent[camera] += 1
                    headers = [("camera", camera.encode()), ("frame-id", b"%d" % number)]
                    frame = encoded("disc", 1000 * CAMERAS.index(camera) + number)
                    await producer.send(self._topic, frame, key=camera.encode(), headers=headers)

    def has_rows(self, agent: Agent, count: int) -> list[dict[str, Any]]:
        agent.until(lambda: self._database.count() >= count, 60, f"{count} rows, of which there are some")
        return self._database.rows()


def test_group_agent_killed_and_agent_joining_every_frame_has_one_row_in_order(
    agent: Callable[[str], Agent], kafka: KafkaTopics, plant_database: PlantDatabase
) -> None:
    group = Group(agent, kafka, plant_database)
    agents = {"one": group.join("one"), "two": group.join("two")}
    group.send_round()
    rows = group.has_rows(agents["one"], sum(group.sent.values()))
    busiest = Counter(row["agent"] for row in rows).most_common(1)[0][0]
    second = agents.pop(busiest)
    first = agents.popitem()[1]
    first.until(lambda: "4 partitions" in first.log or "4 partitions" in second.log, 30, "partitions are shared")
    group.send_round()
    group.has_rows(first, sum(group.sent.values()) - ROUND)
    second.end(signal.SIGKILL)
    group.send_round()
    third = group.join("three")
    group.send_round()
    group.has_rows(first, sum(group.sent.values()))
    first.end()
    group.send_round()
    rows = group.has_rows(third, sum(group.sent.values()))
    assert third.end() == 0
    assert plant_database.rows() == rows, "nothing is written twice"
    assert len({row["result_id"] for row in rows}) == len(rows) == sum(group.sent.values())
    for camera in CAMERAS:
        mine = [int(row["frame_id"]) for row in rows if row["camera"] == camera]
        assert mine == list(range(group.sent[camera])), "each camera's frames, in their order"
    assert {row["outcome"] for row in rows} <= {"pass", "reject"}
    assert plant_database.rows("conflicts") == []
