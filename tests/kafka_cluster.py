"""Three real Kafka brokers for tests that move a leader: KRaft, every broker a controller too, all replicated.

Each broker is a process of its own that can be killed and started again; any two of three go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.brokers import free_port
from tests.kafka_broker import LOGGING, MAX_BYTES

BROKERS = 3
START_TIMEOUT_S = 180.0


class KafkaCluster:
    """Started when made; nodes are numbered from 1."""

    def __init__(self, folder: Path, jars: Path) -> None:
        self._folder = folder
        self._jars = jars
        self._ports = {node: (free_port(), free_port()) for node in range(1, BROKERS + 1)}
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        cluster_id = uuid.uuid4().hex[:22]
        for node in self._ports:
            self._format(node, cluster_id)
        for node in self._ports:
            self._launch(node)
        self.wait_for_all()

    @property
    def bootstrap(self) -> str:
        return ",".join(f"127.0.0.1:{plain}" for plain, _ in self._ports.values())

    def create(self, topic: str, partitions: int, replicas: int = BROKERS) -> None:
        """On all brokers, or on so many, taken by all but one of them before a write counts."""

        async def create(admin: AIOKafkaAdminClient) -> None:
            configs = {"min.insync.replicas": str(max(1, replicas - 1))}
            await admin.create_topics([NewTopic(topic, partitions, replicas, topic_configs=configs)])

        asyncio.run(self._with_admin(create))

    def leader(self, topic: str, partition: int = 0) -> int:
        """The node that leads a partition."""

        async def ask(admin: AIOKafkaAdminClient) -> int:
            (described,) = await admin.describe_topics([topic])
            return int(next(each["leader"] for each in described["partitions"] if each["partition"] == partition))

        return asyncio.run(self._with_admin(ask))

    def coordinator(self, group: str) -> int:
        """The node that coordinates a consumer group."""

        async def ask(admin: AIOKafkaAdminClient) -> int:
            return int(await admin.find_coordinator(group))

        return asyncio.run(self._with_admin(ask))

    def kill(self, node: int) -> None:
        """kill -9."""
        process = self._processes.pop(node)
        process.kill()
        process.wait(timeout=30)

    def runs(self, node: int) -> bool:
        """Whether the broker was not killed since its last start."""
        return node in self._processes

    @contextlib.contextmanager
    def standing_still(self, node: int) -> Iterator[None]:
        """The broker answers nothing meanwhile, and its connections stay open."""
        self._processes[node].send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._processes[node].send_signal(signal.SIGCONT)

    def start(self, node: int) -> None:
        """Answering when it returns."""
        self._launch(node)
        self.wait_for_all()

    def close(self) -> None:
        for node in list(self._processes):
            self.kill(node)

    def wait_for_all(self) -> None:
        """Every broker that runs has started. Raises RuntimeError where one does not."""
        deadline = time.monotonic() + START_TIMEOUT_S
        for node, process in self._processes.items():
            while "Kafka Server started" not in self._log(node):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"Kafka broker {node} did not start: {self._log(node)[-3000:]}")
                time.sleep(0.1)

    async def _with_admin(self, work: Callable[[AIOKafkaAdminClient], object]) -> object:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            return await work(admin)
        finally:
            await admin.close()

    def _log(self, node: int) -> str:
        return (self._home(node) / "output.txt").read_text(errors="replace")

    def _home(self, node: int) -> Path:
        return self._folder / f"broker{node}"

    def _launch(self, node: int) -> None:
        # A log of its own for each life, so that the line which says "started" is of this one.
        with (self._home(node) / "output.txt").open("wb") as output:
            self._processes[node] = subprocess.Popen(
                ["java", "-Xmx384m", "-XX:TieredStopAtLevel=1", "-cp", f"{self._jars}/*",
                 f"-Dlog4j2.configurationFile={self._home(node) / 'log4j2.properties'}",
                 "kafka.Kafka", str(self._home(node) / "server.properties")],
                stdout=output, stderr=output,
            )  # fmt: skip

    def _format(self, node: int, cluster_id: str) -> None:
        home = self._home(node)
        home.mkdir(parents=True)
        plain, controller = self._ports[node]
        voters = ",".join(f"{each}@127.0.0.1:{ports[1]}" for each, ports in self._ports.items())
        lines = [
            "process.roles=broker,controller", f"node.id={node}", f"controller.quorum.voters={voters}",
            f"listeners=PLAIN://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller}",
            f"advertised.listeners=PLAIN://127.0.0.1:{plain}",
            "listener.security.protocol.map=PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.listener.names=CONTROLLER", "inter.broker.listener.name=PLAIN", f"log.dirs={home / 'data'}",
            f"offsets.topic.replication.factor={BROKERS}", "offsets.topic.num.partitions=3",
            f"transaction.state.log.replication.factor={BROKERS}", "transaction.state.log.min.isr=2",
            "group.initial.rebalance.delay.ms=0", "auto.create.topics.enable=false",
            "group.min.session.timeout.ms=1000", f"message.max.bytes={MAX_BYTES}",
            f"replica.fetch.max.bytes={MAX_BYTES}", "broker.session.timeout.ms=3000",
            "broker.heartbeat.interval.ms=500",
        ]  # fmt: skip
        (home / "log4j2.properties").write_text(LOGGING)
        (home / "server.properties").write_text("\n".join(lines) + "\n")
        subprocess.run(
            ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", f"{self._jars}/*", "kafka.tools.StorageTool",
             "format", "-t", cluster_id, "-c", str(home / "server.properties")],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
