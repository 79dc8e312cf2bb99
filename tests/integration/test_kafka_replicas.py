"""The Kafka source on three real brokers: replicas and leaders that stand still or are gone."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from connectors.kafka.source import KafkaSource
from inspector.config.config import Config
from inspector.config.loading import parse
from inspector.domain import Delivery
from inspector.testing.edges import FakeDeadLetters
from tests.brokers import Notebook, RunningClock, until
from tests.kafka_broker import jars_of_our_own
from tests.kafka_cluster import KafkaCluster

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    made = KafkaCluster(tmp_path_factory.mktemp("kafka") / "nodes", jars_of_our_own())
    yield made
    made.close()


class Line:
    """Cameras cam0 and so on, each with a gate and a partition of its number."""

    def __init__(self, cluster: KafkaCluster, folder: Path, *, cameras: int, replicas: int) -> None:
        self.topic = f"t-{uuid.uuid4().hex[:8]}"
        cluster.create(self.topic, cameras, replicas)
        self.leaders = [self._leader(cluster, number) for number in range(cameras)]
        self.notebook = Notebook()
        self.came: dict[str, list[Delivery]] = {f"cam{number}": [] for number in range(cameras)}
        self.config = self._config(cluster, folder, cameras)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[KafkaSource]:
        """A source whose deliveries are all acknowledged at once."""
        async with KafkaSource(self.config, RunningClock(), self.notebook, FakeDeadLetters()) as source:
            reading = asyncio.create_task(self._read(source))
            async with AIOKafkaProducer(bootstrap_servers=self.config.kafka.bootstrap, acks=1) as self._camera:
                yield source
            reading.cancel()

    async def shoot(self, number: int) -> Delivery:
        """The delivery of one frame."""
        await self.send(number)
        return await self.last(number)

    async def send(self, number: int) -> None:
        """Returns when the frame is in the leader's log."""
        came = self.came[f"cam{number}"]
        came.clear()
        headers = [("camera", b"cam%d" % number)]
        await self._camera.send_and_wait(self.topic, b"frame", partition=number, headers=headers)

    async def last(self, number: int) -> Delivery:
        """The delivery of the frame that was sent last."""
        came = self.came[f"cam{number}"]
        await until(lambda: bool(came), PATIENCE_S)
        return came[0]

    async def shoot_until_proved(self, number: int, since_ns: int) -> None:
        """Frames, until one is proved to be younger than that. Raises TimeoutError where none ever is."""
        async with asyncio.timeout(PATIENCE_S):
            while ((await self.shoot(number)).not_before_ns or 0) <= since_ns:
                await asyncio.sleep(0.1)

    async def _read(self, source: KafkaSource) -> None:
        async for delivery in source.deliveries():
            self.came[delivery.camera].append(delivery)
            await source.acknowledge(delivery.position)

    def _leader(self, cluster: KafkaCluster, number: int) -> int:
        deadline = time.monotonic() + PATIENCE_S
        while (leader := cluster.leader(self.topic, number)) < 1:
            assert time.monotonic() < deadline, "no leader was elected"
            time.sleep(0.1)
        return leader

    def _config(self, cluster: KafkaCluster, folder: Path, cameras: int) -> Config:
        numbers = range(cameras)
        return parse(
            {
                "agent": {"name": "agent1", "prefix": "p/s", "state_dir": str(folder / "state")},
                "kafka": {
                    "bootstrap": cluster.bootstrap,
                    "group": f"g-{self.topic}",
                    "topics": [self.topic],
                    "session_timeout_ms": 30_000,
                    "handover_ms": 500,
                    "request_timeout_ms": 5000,
                },
                "camera": [{"name": f"cam{each}", "source": "kafka", "on_unjudged": "reject"} for each in numbers],
                "gate": [
                    {"name": f"g{each}", "cameras": [f"cam{each}"], "window_ms": 1000, "match": "trigger_id"}
                    for each in numbers
                ],
            },
            None,
        )


async def test_frame_that_waited_for_a_replica_is_as_old_as_it_is(cluster: KafkaCluster, tmp_path: Path) -> None:
    line = await asyncio.to_thread(Line, cluster, tmp_path, cameras=1, replicas=3)
    async with line.running():
        await line.shoot_until_proved(0, since_ns=0)
        coordinator = await asyncio.to_thread(cluster.coordinator, line.config.kafka.group)
        follower = next(node for node in (1, 2, 3) if node not in {line.leaders[0], coordinator})
        with cluster.standing_still(follower):
            await asyncio.sleep(0.5)  # fetches that were under way have been answered
            await line.send(0)
            sent_ns = time.monotonic_ns()
            await asyncio.sleep(1.5)  # the agent asks for the end several times
        delivery = await line.last(0)
    assert delivery.not_before_ns is None or delivery.not_before_ns <= sent_ns


async def test_leader_that_stands_still_makes_no_other_partitions_frames_old(
    cluster: KafkaCluster, tmp_path: Path
) -> None:
    line = await asyncio.to_thread(Line, cluster, tmp_path, cameras=3, replicas=1)
    async with line.running():
        for number in range(3):
            await line.shoot_until_proved(number, since_ns=0)
        coordinator = await asyncio.to_thread(cluster.coordinator, line.config.kafka.group)
        well, ill = _apart(line, coordinator)
        with cluster.standing_still(line.leaders[ill]):
            stopped_ns = time.monotonic_ns()
            for _ in range(3):
                await line.shoot_until_proved(well, since_ns=time.monotonic_ns())
            not_before_ns = (await line.shoot(well)).not_before_ns
    assert not_before_ns is not None
    assert not_before_ns > stopped_ns, "the well partition's leader answered meanwhile"


async def test_partition_without_a_leader_holds_up_no_other_one(cluster: KafkaCluster, tmp_path: Path) -> None:
    line = await asyncio.to_thread(Line, cluster, tmp_path, cameras=3, replicas=1)
    async with line.running():
        await line.shoot_until_proved(0, since_ns=0)
        coordinator = await asyncio.to_thread(cluster.coordinator, line.config.kafka.group)
    well, ill = _apart(line, coordinator)
    await asyncio.to_thread(cluster.kill, line.leaders[ill])
    try:
        async with line.running() as source:
            await line.shoot_until_proved(well, since_ns=0)
            assert source.is_connected
            assert source.age_bound_ns(f"cam{well}") is not None
            await until(lambda: "kafka_partition_down" in line.notebook.kinds, PATIENCE_S)
            await until(lambda: ("kafka_lag_frames", f"{line.topic}/{well}") in line.notebook.gauged, PATIENCE_S)
            assert ("kafka_lag_frames", f"{line.topic}/{ill}") not in line.notebook.gauged
            await asyncio.to_thread(cluster.start, line.leaders[ill])
            await line.shoot_until_proved(ill, since_ns=0)
        assert line.notebook.kinds.count("kafka_partition_up") == 1
    finally:
        if not cluster.runs(line.leaders[ill]):
            await asyncio.to_thread(cluster.start, line.leaders[ill])


def _apart(line: Line, coordinator: int) -> tuple[int, int]:
    """A partition that the group's coordinator leads, and one that another broker leads."""
    well = next(number for number, leader in enumerate(line.leaders) if leader == coordinator)
    ill = next(number for number, leader in enumerate(line.leaders) if leader != coordinator)
    return well, ill
