"""One Kafka broker dies, is restarted, or stops answering. Its topic keeps what it has acknowledged."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from typing import Self

from aiokafka import AIOKafkaConsumer

from tests.agents import Agent
from tests.faults.cameras import KafkaCamera
from tests.faults.outcome import fault
from tests.faults.proxy import FaultProxy
from tests.faults.scene import Scene
from tests.kafka_broker import KafkaTopics

BLACK_HOLE_S = 30.0

CONFIG = """
[kafka]
bootstrap = "{bootstrap}"
group = "g-{topic}"
topics = ["{topic}"]
verdict_topic = "{verdicts}"
session_timeout_ms = 6000
request_timeout_ms = 3000
handover_ms = 1000
reconnect_max_s = 1
[[camera]]
name = "cam1"
source = "kafka"
on_unjudged = "reject"
max_mib = 4
"""


class KafkaLine:
    """One camera on one partition, verdicts on a topic of their own. The camera goes past the proxy."""

    def __init__(self, scene: Scene, *, through_proxy: bool = False) -> None:
        self.scene = scene
        self.broker = scene.workshop.kafka()
        topics = KafkaTopics(self.broker.bootstrap)
        self._verdicts = asyncio.run(topics.create())
        topic = asyncio.run(topics.create())
        self.proxy: FaultProxy | None = None
        bootstrap = self.broker.bootstrap
        if through_proxy:
            self.proxy = scene.proxy(self.broker.behind_proxy, self.broker.proxy_port)
            bootstrap = f"127.0.0.1:{self.broker.proxy_port}"
        self.agent: Agent = scene.agent(CONFIG.format(bootstrap=bootstrap, topic=topic, verdicts=self._verdicts))
        self.camera = scene.keep(KafkaCamera(self.broker.bootstrap, topic, scene.account))

    def start(self) -> Self:
        """Running, 30 frames seen."""
        self.agent.start()
        self.camera.shoot(30)
        self.scene.settle(self.agent)
        return self

    def is_told(self, kind: str, times: int = 1) -> None:
        self.agent.until(lambda: self.agent.log.count(f"event={kind} ") >= times, 90, f"{kind} is told")

    def end(self, since: float) -> None:
        """Everything has its row, records are out, each edge was told once."""
        self.scene.recover(self.agent, lambda: self.camera.shoot(1), since)
        self.is_told("kafka_link_up", 2)
        self.scene.check_edges(self.agent, kafka_link_down=1, kafka_link_up=2)
        self.finish()

    def finish(self) -> None:
        """Ends the agent by SIGTERM, then reads all it has said."""
        code = self.agent.end(signal.SIGTERM)
        self.scene.check(code == 0, f"the agent ended with {code} after SIGTERM")
        asyncio.run(self._hear())

    async def _hear(self) -> None:
        """All records on the verdict topic, as a consumer that is not the agent's reads them."""
        async with AIOKafkaConsumer(
            self._verdicts, bootstrap_servers=self.broker.bootstrap, auto_offset_reset="earliest"
        ) as consumer:
            while batch := await consumer.getmany(timeout_ms=3000):
                for record in [record for records in batch.values() for record in records]:
                    body = json.loads(record.value)
                    self.scene.account.hear(f"{record.topic}/verdict", body)
                    if body["outcome"] == "reject":
                        self.scene.account.hear(f"{record.topic}/reject", body)


@fault("Kafka broker kill -9")
def broker_killed(scene: Scene) -> None:
    line = KafkaLine(scene).start()
    line.camera.shoot(40)
    line.broker.kill()
    line.is_told("kafka_link_down")
    line.broker.start()
    line.end(time.monotonic())


@fault("Kafka broker restarted while frames come")
def broker_restarted(scene: Scene) -> None:
    line = KafkaLine(scene).start()
    shots = line.camera.shoot_beside(200, 0.1)
    line.broker.stop()
    line.is_told("kafka_link_down")
    line.broker.start()
    since = time.monotonic()
    scene.note_recovery(line.agent, since)
    shots.result()
    line.end(since)


@fault("Kafka black hole for 30 s while frames come")
def black_hole(scene: Scene) -> None:
    line = KafkaLine(scene, through_proxy=True).start()
    assert line.proxy is not None
    shots = line.camera.shoot_beside(400, 0.1)
    line.proxy.black_hole()
    time.sleep(BLACK_HOLE_S)
    line.proxy.heal()
    since = time.monotonic()
    scene.note_recovery(line.agent, since)
    shots.result()
    line.end(since)


@fault("Kafka connections half-open while frames come")
def half_open(scene: Scene) -> None:
    line = KafkaLine(scene, through_proxy=True).start()
    assert line.proxy is not None
    shots = line.camera.shoot_beside(200, 0.1)
    line.proxy.half_open()
    since = time.monotonic()
    scene.note_recovery(line.agent, since)
    shots.result()
    scene.recover(line.agent, lambda: line.camera.shoot(1), since)
    line.finish()
