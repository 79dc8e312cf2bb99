"""Two agents share the cameras of a Kafka topic; one is killed and another joins while frames come."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from tests.agents import Agent
from tests.kafka_broker import KafkaTopics
from tests.parts import encoded

pytestmark = pytest.mark.acceptance

CAMERAS = ("cam1", "cam2", "cam3", "cam4")
ROUND = 12
GROUP = """
[kafka]
bootstrap = "{bootstrap}"
group = "g-{topic}"
topics = ["{topic}"]
session_timeout_ms = 3000
handover_ms = 1000
reconnect_max_s = 0.3
[store]
url = "sqlite+aiosqlite:///{database}"
"""
CAMERA = '[[camera]]\nname = "{name}"\nsource = "kafka"\non_unjudged = "reject"\nmax_mib = 4\n'


class Group:
    """Agents of different names on one database and one topic, and the frames that were sent to them."""

    def __init__(self, make: Callable[[str], Agent], kafka: KafkaTopics, topic: str, database: Path) -> None:
        self._make = make
        self._database = database
        self._kafka = kafka
        self._topic = topic
        self.sent: Counter[str] = Counter()

    def join(self, name: str) -> Agent:
        config = GROUP.format(bootstrap=self._kafka.bootstrap, topic=self._topic, database=self._database)
        agent = self._make(config + "".join(CAMERA.format(name=camera) for camera in CAMERAS))
        agent.config.write_text(agent.config.read_text().replace('name = "agent"', f'name = "{name}"', 1))
        return agent.start()

    async def send_round(self) -> None:
        """ROUND frames of each camera, by turns, every one another picture."""
        async with AIOKafkaProducer(bootstrap_servers=self._kafka.bootstrap) as producer:
            for _ in range(ROUND):
                for camera in CAMERAS:
                    number = self.sent[camera]
                    self.sent[camera] += 1
                    headers = [("camera", camera.encode()), ("frame-id", b"%d" % number)]
                    frame = encoded("disc", 1000 * CAMERAS.index(camera) + number)
                    await producer.send(self._topic, frame, key=camera.encode(), headers=headers)

    def rows(self) -> list[dict[str, Any]]:
        """All results in the order they were written."""
        with sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=30) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute("SELECT * FROM results ORDER BY seq")]

    def has_rows(self, agent: Agent, count: int) -> list[dict[str, Any]]:
        agent.until(lambda: len(self.rows()) >= count, 60, f"{count} rows, of which there are some")
        return self.rows()


async def test_group_agent_killed_and_agent_joining_every_frame_has_one_row_in_order(
    agent: Callable[[str], Agent], kafka: KafkaTopics, enrolled_state: Path, tmp_path: Path
) -> None:
    topic = await kafka.create(8)
    database = tmp_path / "shared.db"
    shutil.copy(enrolled_state / "inspector.db", database)
    group = Group(agent, kafka, topic, database)
    agents = {"one": group.join("one"), "two": group.join("two")}
    await group.send_round()
    rows = group.has_rows(agents["one"], sum(group.sent.values()))
    busiest = Counter(row["agent"] for row in rows).most_common(1)[0][0]
    second = agents.pop(busiest)
    first = agents.popitem()[1]
    first.until(lambda: "4 partitions" in first.log or "4 partitions" in second.log, 30, "partitions are shared")
    await group.send_round()
    group.has_rows(first, sum(group.sent.values()) - ROUND)
    second.end(signal.SIGKILL)
    await group.send_round()
    third = group.join("three")
    await group.send_round()
    group.has_rows(first, sum(group.sent.values()))
    first.end()
    await group.send_round()
    rows = group.has_rows(third, sum(group.sent.values()))
    time.sleep(0.2)
    assert third.end() == 0
    assert group.rows() == rows, "nothing is written twice"
    assert len({row["result_id"] for row in rows}) == len(rows) == sum(group.sent.values())
    for camera in CAMERAS:
        mine = [int(row["frame_id"]) for row in rows if row["camera"] == camera]
        assert mine == list(range(group.sent[camera])), "each camera's frames, in their order"
    assert {row["outcome"] for row in rows} <= {"pass", "reject"}
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM conflicts").fetchone() == (0,)
