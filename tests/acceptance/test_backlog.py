"""Frames that waited in the broker: recorded at once, judged afterwards, and never in the way of live ones."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import paho.mqtt.client as paho
import pytest
from aiokafka import AIOKafkaProducer

from inspector.store.pictures.recorded_picture import size_of_picture
from inspector.stream.verdict_record import format_time
from tests.agents import Agent
from tests.brokers import Mosquitto
from tests.kafka_broker import KafkaTopics
from tests.parts import encoded
from tests.plant_database import PlantDatabase

pytestmark = pytest.mark.acceptance

LINE = """
[mqtt]
port = {port}
protocol = "3.1.1"
[images]
late_mib = {late_mib}
[[camera]]
name = "cam1"
on_unjudged = "quarantine"
trigger_from = "topic"
[[gate]]
name = "gate1"
cameras = ["cam1"]
window_ms = {window_ms}
"""

PATIENT_MS = 20_000
"""A window that no load of this machine uses up."""


class Line:
    """A camera, a PLC that notes decisions and heartbeats, and a dashboard that notes verdicts."""

    def __init__(self, broker: Mosquitto) -> None:
        self.decisions: list[dict[str, int]] = []
        self.beats: list[dict[str, int]] = []
        self.verdicts: list[dict[str, object]] = []
        self.has_been_ready = threading.Event()
        self._images = [encoded("disc", 700 + number, is_good=number % 10 != 3) for number in range(20)]
        self._camera = self._client(broker, "camera")
        self._plc = self._client(broker, "plc")
        self._plc.on_message = self._note
        self._plc.subscribe([("t/gate/gate1/decision", 1), ("t/gate/gate1/heartbeat", 0), ("t/cam1/verdict", 1)])

    @staticmethod
    def _client(broker: Mosquitto, name: str) -> paho.Client:
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name)
        client.max_queued_messages_set(0)
        client.connect(broker.host, broker.port)
        client.loop_start()
        return client

    def _note(self, _client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        said = json.loads(message.payload)
        if message.topic.endswith("decision"):
            self.decisions.append(said)
        elif message.topic.endswith("verdict"):
            self.verdicts.append(said)
        else:
            self.beats.append(said)
            if said["ready"] == 1 and not self.has_been_ready.is_set():
                self.has_been_ready.set()

    @property
    def is_ready(self) -> bool:
        return bool(self.beats) and self.beats[-1]["ready"] == 1

    def show(self, triggers: range, pause_s: float = 0.0) -> None:
        """Every frame is with the broker when it returns."""
        sent = []
        for trigger in triggers:
            image = self._images[trigger % len(self._images)]
            sent.append(self._camera.publish(f"t/cam1/frame/{trigger}", image, qos=1))
            time.sleep(pause_s)
        for info in sent:
            info.wait_for_publish(60)

    def end(self) -> None:
        for client in (self._camera, self._plc):
            client.disconnect()
            client.loop_stop()


@pytest.fixture
def line(mosquitto: Callable[..., Mosquitto]) -> Iterator[tuple[Mosquitto, Line]]:
    broker = mosquitto()
    made = Line(broker)
    yield broker, made
    made.end()


def configured(broker: Mosquitto, late_mib: int = 1024) -> str:
    return LINE.format(port=broker.port, late_mib=late_mib, window_ms=PATIENT_MS)


def away(agent: Agent, line: Line) -> None:
    """The agent has had its session at the broker, has told the gate of one part, and is away."""
    agent.start()
    agent.until(lambda: line.is_ready, 60, "the gate is ready")
    line.show(range(1))
    agent.until(lambda: len(line.decisions) == 1, 60, "a live part is decided")
    assert agent.end() == 0
    line.beats.clear()
    line.has_been_ready.clear()


def judged(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    return [row for row in rows if row["late_outcome"] not in (None, "waiting")]


def test_restart_behind_1500_frames_that_wait_is_ready_only_when_live_parts_are_decided_in_time(
    agent: Callable[[str], Agent], line: tuple[Mosquitto, Line]
) -> None:
    waiting = 1500
    broker, parts = line
    running = agent(configured(broker))
    away(running, parts)
    parts.show(range(1, waiting + 1))
    seen: dict[str, float] = {}
    began = time.monotonic()
    running.start(wait=False)
    running.until(parts.has_been_ready.is_set, 120, "the gate is ready")
    seen["ready"] = time.monotonic() - began
    before = len(judged(running.rows()))
    live = range(waiting + 1, waiting + 21)
    parts.show(live, 0.1)
    running.until(lambda: len(parts.decisions) == 1 + len(live), 60, "all live parts are decided")
    seen["20 live parts decided"] = time.monotonic() - began
    running.has_rows(1 + waiting + len(live))
    print(f"behind {waiting} frames, seconds after the start of the process:", seen)  # noqa: T201 - for people
    assert before < waiting, "ready comes before the frames that waited have been judged"
    told = sorted(decision["trig"] for decision in parts.decisions)
    assert told == [0, *live], "0 live parts unjudged after ready"
    rows = running.rows()
    assert sorted(row["trigger_id"] for row in rows) == list(range(waiting + len(live) + 1))
    assert {(row["cause"], row["published"]) for row in rows[1 : waiting + 1]} == {("late", 0)}
    assert Counter(row["published"] for row in rows[waiting + 1 :]) == {1: len(live)}
    running.until(lambda: len(judged(running.rows())) >= 5, 120, "they are judged afterwards")
    assert {row["cause"] for row in judged(running.rows())} == {"late"}
    assert running.end() == 0


def test_kill_9_while_late_frames_wait_leaves_none_unjudged(
    agent: Callable[[str], Agent], line: tuple[Mosquitto, Line]
) -> None:
    broker, parts = line
    running = agent(configured(broker))
    away(running, parts)
    parts.show(range(1, 61))
    running.start(wait=False, INSPECTOR_FAULT_POINT="kept:20")
    running.until(running.has_ended, 120, "killed while pictures are kept")
    running.end(signal.SIGKILL)
    for stage in ("judged_late:7", "amended:9"):
        running.start(wait=False, INSPECTOR_FAULT_POINT=stage)
        running.until(running.has_ended, 120, f"killed at {stage}")
        running.end(signal.SIGKILL)
    restarted_at = format_time(datetime.now(UTC))
    running.start()
    running.until(lambda: len(judged(running.rows())) == 60, 180, "all are judged")
    rows = running.rows()
    assert [row["trigger_id"] for row in rows] == list(range(61))
    bad = [row["trigger_id"] for row in rows[1:] if row["late_outcome"] == "reject"]
    assert bad == [number for number in range(1, 61) if number % 10 == 3]
    assert all(row["level"] is not None and row["cause"] == "late" for row in rows[1:])
    assert [decision["trig"] for decision in parts.decisions] == [0]
    last = {row["result_id"] for row in rows if (row["judged_at"] or "") >= restarted_at}
    assert last
    running.until(
        lambda: last <= {verdict["result_id"] for verdict in parts.verdicts}, 30, "each that no kill cut off is told"
    )
    assert all(verdict["level"] is not None for verdict in parts.verdicts), "no record before it is judged"
    assert any(event["kind"] == "late_reject" for event in running.rows("events"))
    assert running.end() == 0
    assert list((running.state / "late").iterdir()) == []


def test_late_frames_beyond_their_bound_are_given_up_and_say_so(
    agent: Callable[[str], Agent], line: tuple[Mosquitto, Line]
) -> None:
    broker, parts = line
    running = agent(configured(broker, late_mib=1))
    away(running, parts)
    parts.show(range(1, 301))
    running.start(wait=False)
    running.has_rows(301, 120)
    files = [file for file in (running.state / "late").iterdir() if file.suffix == ".jpg"]
    assert sum(size_of_picture(file, file.stat().st_size) for file in files) <= 2**20, "without their records"
    running.until(lambda: any(row["late_cause"] is None for row in judged(running.rows())), 60, "some are given up")
    given_up = [row for row in judged(running.rows()) if row["late_cause"] is None]
    assert all("images.late_mib" in str(row["late_detail"]) and row["level"] is None for row in given_up)
    assert {row["cause"] for row in given_up} == {"late"}
    assert running.end() == 0


def test_database_away_while_late_frames_are_judged_loses_no_finding(
    agent: Callable[[str], Agent], line: tuple[Mosquitto, Line], plant_database: PlantDatabase
) -> None:
    broker, parts = line
    running = agent(configured(broker) + plant_database.config)
    away(running, parts)
    parts.show(range(1, 21))
    running.start()
    running.until(lambda: plant_database.count() == 21, 90, "the rows are there")
    plant_database.server.stop(at_once=True)
    running.until(lambda: not list((running.state / "late").glob("*.jpg")), 120, "all are judged")
    assert list((running.state / "late").glob("*.json")), "what they showed waits"
    plant_database.server.start()
    running.until(lambda: len(judged(plant_database.rows())) == 20, 60, "it is in their rows")
    assert {row["cause"] for row in plant_database.rows()[1:]} == {"late"}
    assert running.end() == 0


KAFKA = """
[mqtt]
port = {port}
[kafka]
bootstrap = "{bootstrap}"
group = "g-{topic}"
topics = ["{topic}"]
[[camera]]
name = "cam1"
source = "kafka"
on_unjudged = "quarantine"
[[gate]]
name = "gate1"
cameras = ["cam1"]
window_ms = {window_ms}
"""


async def send_to_kafka(kafka: KafkaTopics, topic: str, triggers: range) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        for trigger in triggers:
            headers = [("camera", b"cam1"), ("trigger-id", b"%d" % trigger)]
            await producer.send(topic, encoded("disc", 700 + trigger % 20), key=b"gate1", headers=headers)


def test_restart_behind_records_of_kafka_is_ready_only_when_live_parts_are_decided_in_time(
    agent: Callable[[str], Agent], line: tuple[Mosquitto, Line], kafka: KafkaTopics
) -> None:
    broker, parts = line
    topic = asyncio.run(kafka.create(1))
    running = agent(
        KAFKA.format(port=broker.port, bootstrap=kafka.bootstrap, topic=topic, window_ms=PATIENT_MS)
    ).start()
    running.until(lambda: parts.is_ready, 60, "the gate is ready")
    asyncio.run(send_to_kafka(kafka, topic, range(1)))
    running.until(lambda: len(parts.decisions) == 1, 60, "a live part is decided")
    assert running.end() == 0
    parts.beats.clear()
    parts.has_been_ready.clear()
    asyncio.run(send_to_kafka(kafka, topic, range(1, 201)))
    running.start(wait=False)
    running.until(parts.has_been_ready.is_set, 120, "the gate is ready")
    asyncio.run(send_to_kafka(kafka, topic, range(201, 211)))
    running.until(lambda: len(parts.decisions) == 11, 60, "all live parts are decided")
    assert sorted(decision["trig"] for decision in parts.decisions) == [0, *range(201, 211)]
    rows = running.has_rows(211)
    assert {(row["cause"], row["published"]) for row in rows if 1 <= row["trigger_id"] <= 200} == {("late", 0)}
    running.until(lambda: len(judged(running.rows())) >= 3, 120, "they are judged afterwards")
    assert running.end() == 0
