"""Several agents, one registry and ledger: a gate that moves with its cameras, and a new product that reaches all."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from tests.agents import Agent, inspector
from tests.brokers import Mosquitto
from tests.faults.account import Account
from tests.faults.cameras import Ear, Film, MqttCamera
from tests.kafka_broker import KafkaTopics
from tests.plant_database import PlantDatabase

pytestmark = pytest.mark.acceptance

VIEWS = ("left", "right")
GATE = """
[mqtt]
port = {mqtt_port}
[kafka]
bootstrap = "{bootstrap}"
group = "g-{topic}"
topics = ["{topic}"]
session_timeout_ms = 3000
handover_ms = 1000
reconnect_max_s = 0.3
[[camera]]
name = "left"
view = "left"
source = "kafka"
on_unjudged = "reject"
max_mib = 4
[[camera]]
name = "right"
view = "right"
source = "kafka"
on_unjudged = "reject"
max_mib = 4
[[gate]]
name = "gate1"
cameras = ["left", "right"]
window_ms = 60000
"""
FREE = """
[mqtt]
port = {mqtt_port}
[[camera]]
name = "{camera}"
on_unjudged = "reject"
"""


class Fleet:
    """Agents of different names on one database, and a subscriber of its own to all they say."""

    def __init__(self, make: Callable[[str], Agent], broker: Mosquitto, database: PlantDatabase) -> None:
        self._make = make
        self.broker = broker
        self.database = database
        self.account = Account()
        self.ear = Ear((broker.host, broker.port), self.account)

    def join(self, name: str, config: str) -> Agent:
        agent = self._make(config + self.database.config)
        agent.config.write_text(agent.config.read_text().replace('name = "agent"', f'name = "{name}"', 1))
        return agent.start()

    def told(self) -> list[tuple[int, int]]:
        """Epoch and trigger of each decision on the wire."""
        return [(body["ep"], body["trig"]) for body in self.account.heard("gate/gate1/decision")]


@pytest.fixture
def fleet(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto], plant_database: PlantDatabase
) -> Iterator[Fleet]:
    made = Fleet(agent, mosquitto(), plant_database)
    yield made
    made.ear.close()


def send_parts(kafka: KafkaTopics, topic: str, triggers: Iterable[int]) -> None:
    """Both views of these parts, under the key of their gate."""

    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
            for trigger in triggers:
                for view in VIEWS:
                    names = {"camera": view, "trigger-id": str(trigger)}
                    headers = [(name, text.encode()) for name, text in names.items()]
                    frame = Film(f"{view}{trigger}").next().payload
                    await producer.send(topic, frame, key=b"gate1", headers=headers)

    asyncio.run(send())


def test_gate_whose_agent_dies_goes_on_at_another_with_its_count_and_nothing_late_is_told(
    fleet: Fleet, kafka: KafkaTopics
) -> None:
    topic = asyncio.run(kafka.create(4))
    config = GATE.format(mqtt_port=fleet.broker.port, bootstrap=kafka.bootstrap, topic=topic)
    agents = {name: fleet.join(name, config) for name in ("one", "two")}
    agents["one"].until(lambda: any("2 partitions" in each.log for each in agents.values()), 60, "they share the topic")
    send_parts(kafka, topic, range(1, 9))
    agents["one"].until(lambda: len(fleet.told()) == 8 and fleet.database.count() == 16, 60, "8 parts")
    owner = {row["agent"] for row in fleet.database.rows()}.pop()
    agents.pop(owner).end(signal.SIGKILL)
    other = agents.popitem()[1]
    send_parts(kafka, topic, range(9, 13))  # nobody has the gate: they wait, and are late for whoever gets it then
    other.until(lambda: fleet.database.count() == 24, 60, "the other agent takes over")
    send_parts(kafka, topic, range(13, 21))
    other.until(lambda: fleet.database.count() == 40, 60, "it goes on")
    beats = lambda: fleet.account.heard("gate/gate1/heartbeat")  # noqa: E731 - short
    other.until(lambda: (beats()[-1]["ep"], beats()[-1]["ready"]) == (1, 1), 60, "the gate is told that it is ready")
    assert other.end() == 0
    rows = fleet.database.rows()
    late = {row["trigger_id"] for row in rows if row["cause"] == "late"}
    assert late < set(range(9, 21))
    assert fleet.told() == [(1, trigger) for trigger in range(1, 21) if trigger not in late]
    assert {(row["epoch"], row["gate"]) for row in rows} == {(1, "gate1")}
    for view in VIEWS:
        assert [row["trigger_id"] for row in rows if row["view"] == view] == list(range(1, 21)), (
            "one row each, in order"
        )
    assert not any(row["published"] for row in rows if row["trigger_id"] in late)
    assert fleet.database.rows("conflicts") == []


def test_product_made_live_on_one_machine_reaches_every_agent_of_the_fleet(
    fleet: Fleet, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """By an import: what it writes into the registry is what the last step of an enrolment writes."""
    cameras = {"one": "cam1", "two": "cam2"}
    configs = {name: FREE.format(mqtt_port=fleet.broker.port, camera=camera) for name, camera in cameras.items()}
    fleet.database.execute("UPDATE products SET live_version = NULL WHERE name = 'bar'")
    agents = {name: fleet.join(name, config) for name, config in configs.items()}
    agents["one"].until(lambda: all("live products: disc" in each.log for each in agents.values()), 30, "disc is live")
    file = tmp_path / "bar.artifact"
    taken_in = ("import", file, "--activate", "--reason", "as on line 1")
    for command in (("export", "bar", "--output", file), taken_in):
        done = inspector("products", *command, "--config", agents["one"].config)
        assert done.returncode == 0, done.stderr
    newest = max(row["created_at"] for row in fleet.database.rows("product_versions"))
    for name, agent in agents.items():
        agent.until(lambda agent=agent: "live products: bar, disc" in agent.log, 60, "the new product is live")  # type: ignore[misc]  # bound now
        took_s = (moment_of(agent.log, "live products: bar, disc") - newest).total_seconds()
        record_property(f"new_product_reached_{name}_s", took_s)
        print(f"the new product reached agent {name} after {took_s:.2f} s")  # noqa: T201 - read by people
    for name, camera in cameras.items():
        source = MqttCamera((fleet.broker.host, fleet.broker.port), fleet.account, camera)
        shots = source.shoot(2)  # a disc and a bar
        agents[name].until(lambda: not fleet.account.missing(fleet.database.rows()), 60, "rows")
        source.close()
        rows = [row for row in fleet.database.rows() if row["camera"] == camera]
        assert {row["product"] for row in rows} == {"disc", "bar"}
        assert len(rows) == len(shots)


def test_camera_shared_by_two_agents_each_frame_has_one_row_also_when_one_is_away_for_a_while(fleet: Fleet) -> None:
    config = FREE.format(mqtt_port=fleet.broker.port, camera="cam1") + 'shared_group = "hall"\n'
    agents = {name: fleet.join(name, config) for name in ("one", "two")}
    camera = MqttCamera((fleet.broker.host, fleet.broker.port), fleet.account)
    camera.shoot(40)
    agents["one"].until(lambda: fleet.database.count() == 40, 60, "40 rows")
    assert {row["agent"] for row in fleet.database.rows()} == {"one", "two"}
    assert agents["two"].end() == 0
    camera.shoot(20)
    agents["two"].start()
    camera.shoot(20)
    agents["one"].until(lambda: fleet.database.count() >= 80, 60, "80 rows")
    camera.close()
    assert [agent.end() for agent in agents.values()] == [0, 0]
    rows = fleet.database.rows()
    assert (fleet.account.missing(rows), fleet.account.double_rows(rows), len(rows)) == ([], 0, 80)
    assert fleet.account.broken_on_wire(rows) == []


def moment_of(log: str, words: str) -> datetime:
    """When the first line with these words was written."""
    line = next(line for line in log.splitlines() if words in line)
    found = re.search(r"timestamp=(\S+)", line)
    assert found is not None
    return datetime.fromisoformat(found[1])
