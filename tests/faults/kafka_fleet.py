"""A fleet of agents on Kafka and one PostgreSQL: rebalances, moving coordinators and leaders, and the full size."""

from __future__ import annotations

import asyncio
import io
import logging
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import wait

import numpy as np
from PIL import Image

from tests.agents import Agent
from tests.faults.account import of_frames
from tests.faults.cameras import Ear, Film, KafkaCamera
from tests.faults.outcome import fault
from tests.faults.postgres import plant_database
from tests.faults.scene import Scene
from tests.kafka_broker import KafkaTopics, find_jars
from tests.kafka_cluster import KafkaCluster
from tests.parts import part

CAMERAS = ("cam1", "cam2", "cam5", "cam7")  # by their hash, each on a partition of its own of eight
PARTITIONS = 8
FULL_SIZE = 4000
FULL_SIZE_LIMIT_S = 900.0

AGENT = """
[mqtt]
port = {mqtt_port}
[kafka]
bootstrap = "{bootstrap}"
group = "g-{topic}"
topics = ["{topic}"]
session_timeout_ms = 4000
handover_ms = 1000
reconnect_max_s = 0.5
"""
CAMERA = '[[camera]]\nname = "{name}"\nsource = "kafka"\non_unjudged = "reject"\nmax_mib = 4\n'


class GrainyFilm(Film):
    """Frames of about 100 KiB: larger pictures of the same parts, with grain that no JPEG makes small."""

    def __init__(self, camera: str) -> None:
        super().__init__(camera)
        self._images = [_grainy(n) for n in range(len(self._images))]


class Fleet:
    """Four ungated cameras on one topic, agents in one group, their records on MQTT, and one PostgreSQL."""

    def __init__(self, scene: Scene, bootstrap: str, topic: str, film: Callable[[str], Film] = Film) -> None:
        self.scene = scene
        self.group = f"g-{topic}"
        self.database = plant_database(scene)
        scene.read_rows_by(self.database.rows)
        broker = scene.mosquitto()
        self.ear = scene.keep(Ear((broker.host, broker.port), scene.account))
        config = AGENT.format(mqtt_port=broker.port, bootstrap=bootstrap, topic=topic) + self.database.config
        self._config = config + "".join(CAMERA.format(name=name) for name in CAMERAS)
        self.cameras = [scene.keep(KafkaCamera(bootstrap, topic, scene.account, name)) for name in CAMERAS]
        for camera in self.cameras:
            camera.film = film(camera.film.camera)
        self.agents: dict[str, Agent] = {}

    def join(self, name: str) -> Agent:
        """Reads its share when this returns, or is about to."""
        self.agents[name] = self.scene.agent(self._config, name)
        return self.agents[name].start()

    def leave(self, name: str, number: int = signal.SIGTERM) -> None:
        code = self.agents.pop(name).end(number)
        expected = 0 if number == signal.SIGTERM else -number
        self.scene.check(code == expected, f"agent {name} ended with {code}, not {expected}")

    def shoot(self, frames: int, pause_s: float = 0.0) -> None:
        """So many frames of each camera, all with the cluster when it returns."""
        for shots in [camera.shoot_beside(frames, pause_s) for camera in self.cameras]:
            shots.result()

    def during(self, frames: int, pause_s: float, happening: Callable[[], None]) -> float:
        """What happens while so many frames of each camera come; returns when it was over (time.monotonic)."""
        shots = [camera.shoot_beside(frames, pause_s) for camera in self.cameras]
        self.has_rows(self.database.count() + 2 * len(CAMERAS))
        happening()
        over = time.monotonic()
        wait(shots)
        for each in shots:
            each.result()
        return over

    def has_rows(self, count: int, limit_s: float = 120.0) -> None:
        self.one.until(lambda: self.database.count() >= count, limit_s, f"{count} rows")

    @property
    def one(self) -> Agent:
        """Any that runs."""
        return next(iter(self.agents.values()))

    def finish(self, since: float, limit_s: float = 240.0) -> None:
        """Everything has its row; then what a fleet has to keep is checked, and the agents end."""
        self.scene.settle(self.one, limit_s)
        self.scene.recover(self.one, lambda: self.shoot(1), since)
        for name in list(self.agents):
            self.leave(name)
        rows = of_frames(self.scene.rows())
        for camera in CAMERAS:
            numbers = [int(row["frame_id"][1:]) for row in rows if row["camera"] == camera]
            self.scene.check(numbers == sorted(numbers), f"the rows of {camera} are not in the order of its frames")
        conflicts = self.database.rows("conflicts")
        self.scene.check(not conflicts, f"{len(conflicts)} frames were judged with two outcomes")


def _grainy(number: int) -> bytes:
    small = part("disc" if number % 2 else "bar", 700 + number, is_good=number % 4 != 0)
    large = np.kron(small, np.ones((3, 3, 1), dtype=np.uint8)).astype(np.float32)
    grain = np.random.default_rng(number).normal(0, 7, size=large.shape)
    out = io.BytesIO()
    Image.fromarray(np.clip(large + grain, 0, 255).astype(np.uint8)).save(out, "JPEG", quality=95)
    return out.getvalue()


def _fleet(scene: Scene, film: Callable[[str], Film] = Film) -> Fleet:
    topics = KafkaTopics(scene.workshop.kafka().bootstrap)
    return Fleet(scene, topics.bootstrap, asyncio.run(topics.create(PARTITIONS)), film)


@fault("Kafka: a second agent joins in the middle of a batch")
def agent_joins(scene: Scene) -> None:
    fleet = _fleet(scene)
    fleet.join("one")
    since = fleet.during(50, 0.05, lambda: fleet.join("two") and None)
    fleet.finish(since)


@fault("Kafka: an agent leaves in the middle of a batch")
def agent_leaves(scene: Scene) -> None:
    fleet = _fleet(scene)
    fleet.join("one")
    fleet.join("two")
    since = fleet.during(50, 0.05, lambda: fleet.leave("two"))
    fleet.finish(since)


@fault("Kafka: an agent dies in the middle of a batch")
def agent_dies(scene: Scene) -> None:
    fleet = _fleet(scene)
    fleet.join("one")
    fleet.join("two")
    since = fleet.during(50, 0.05, lambda: fleet.leave("two", signal.SIGKILL))
    fleet.finish(since)


@fault("Kafka: rebalances and SIGTERM in the middle of a batch")
def agents_come_and_go(scene: Scene) -> None:
    fleet = _fleet(scene)
    fleet.join("one")

    def come_and_go() -> None:
        fleet.join("two")
        fleet.leave("one")
        fleet.join("three")
        fleet.leave("two", signal.SIGKILL)

    since = fleet.during(120, 0.05, come_and_go)
    fleet.finish(since)


@fault("Kafka: the group's coordinator dies, of three brokers")
def coordinator_moves(scene: Scene) -> None:
    _broker_dies(scene, lambda cluster, fleet, _: cluster.coordinator(fleet.group))


@fault("Kafka: a partition's leader dies, of three brokers")
def leader_moves(scene: Scene) -> None:
    _broker_dies(scene, lambda cluster, _, topic: cluster.leader(topic))


def _broker_dies(scene: Scene, which: Callable[[KafkaCluster, Fleet, str], int]) -> None:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # the cameras' clients tell of every try
    cluster = scene.keep(KafkaCluster(scene.folder / "kafka", find_jars()))
    topic = f"t-{uuid.uuid4().hex[:12]}"
    cluster.create(topic, PARTITIONS)
    fleet = Fleet(scene, cluster.bootstrap, topic)
    fleet.join("one")
    fleet.join("two")
    fleet.shoot(2)
    scene.settle(fleet.one)
    before = which(cluster, fleet, topic)
    since = fleet.during(80, 0.05, lambda: cluster.kill(before))
    scene.settle(fleet.one)
    after = which(cluster, fleet, topic)
    scene.check(after != before, f"broker {before} is dead and still said to lead")
    cluster.start(before)
    fleet.finish(since)


@fault("Kafka: 4,000 frames of 100 KiB, an agent killed, one joins")
def full_size(scene: Scene) -> None:
    fleet = _fleet(scene, GrainyFilm)
    sizes = [len(image) for image in map(_grainy, range(8))]
    scene.check(90 << 10 < sum(sizes) / len(sizes) < 120 << 10, f"frames of {sum(sizes) / len(sizes):.0f} bytes")
    fleet.join("one")
    fleet.join("two")
    each = FULL_SIZE // len(CAMERAS)
    shots = [camera.shoot_beside(each - 1, 0.0) for camera in fleet.cameras]  # the last ones measure the recovery
    fleet.has_rows(FULL_SIZE // 4, FULL_SIZE_LIMIT_S)
    busiest = Counter(row["agent"] for row in scene.rows()).most_common(1)[0][0]
    fleet.leave(busiest, signal.SIGKILL)
    fleet.has_rows(FULL_SIZE // 2, FULL_SIZE_LIMIT_S)
    fleet.join("three")
    since = time.monotonic()
    for each_camera in shots:
        each_camera.result()
    fleet.finish(since, FULL_SIZE_LIMIT_S)
    rows = of_frames(scene.rows())
    scene.check(len({row["result_id"] for row in rows}) == FULL_SIZE, f"{len(rows)} rows, not {FULL_SIZE}")
    agents = Counter(row["agent"] for row in rows)
    scene.check(len(agents) == 3, f"the rows are of {dict(agents)}, not of three agents")
