"""Whatever stood still: a gate is never told of a part by a frame that is older than its window."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import paho.mqtt.client as paho
import pytest

from tests.agents import Agent
from tests.brokers import Mosquitto
from tests.parts import encoded
from tests.shop_floor import PASS, REJECT, shop_floor

pytestmark = pytest.mark.acceptance

LINE = """
[mqtt]
port = {port}
protocol = "3.1.1"
[[camera]]
name = "cam1"
on_unjudged = "quarantine"
trigger_from = "topic"
[[gate]]
name = "gate1"
cameras = ["cam1"]
window_ms = 600
match = "{match}"
"""


class Line:
    """A camera that is connected, and a PLC that notes each decision and heartbeat."""

    def __init__(self, port: int) -> None:
        self.decisions: list[dict[str, int]] = []
        self.beats: list[dict[str, int]] = []
        self._camera = self._client(port, "camera")
        self._plc = self._client(port, "plc")
        self._plc.on_message = self._note
        self._plc.subscribe([("t/gate/gate1/decision", 1), ("t/gate/gate1/heartbeat", 0)])

    @staticmethod
    def _client(port: int, name: str) -> paho.Client:
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name)
        client.connect("127.0.0.1", port)
        client.loop_start()
        return client

    def _note(self, _client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        notes = self.decisions if message.topic.endswith("decision") else self.beats
        notes.append(json.loads(message.payload))

    def show(self, topic: str, seed: int) -> None:
        """The frame has left the camera when this returns, whether or not the broker reads it."""
        self._camera.publish(topic, encoded("disc", seed), qos=1)
        time.sleep(0.05)

    def end(self) -> None:
        for client in (self._camera, self._plc):
            client.disconnect()
            client.loop_stop()


@pytest.fixture
def line(mosquitto: Callable[..., Mosquitto]) -> Iterator[tuple[Mosquitto, Line]]:
    broker = mosquitto()
    line = Line(broker.port)
    yield broker, line
    line.end()


@contextmanager
def standing_still(who: str, agent: Agent, broker: Mosquitto) -> Iterator[None]:
    if who == "agent":
        assert agent.process is not None
        agent.process.send_signal(signal.SIGSTOP)
        yield
        agent.process.send_signal(signal.SIGCONT)
    else:
        broker.freeze()
        yield
        broker.thaw()


@pytest.mark.parametrize("match", ["single_in_flight", "trigger_id"])
@pytest.mark.parametrize("who", ["agent", "broker"])
def test_run_tells_a_gate_nothing_of_a_frame_that_waited_beyond_its_window(
    agent: Callable[[str], Agent], line: tuple[Mosquitto, Line], who: str, match: str
) -> None:
    broker, parts = line
    topic = "t/cam1/frame/{}" if match == "trigger_id" else "t/cam1/frame"
    configured = LINE.format(port=broker.port, match=match)
    if match == "single_in_flight":
        configured = configured.replace('trigger_from = "topic"\n', "")
    running = agent(configured).start()
    running.until(lambda: bool(parts.beats) and parts.beats[-1]["ready"] == 1, 60, "the gate is ready")
    parts.show(topic.format(1), 900)
    running.has_rows(1)
    told = len(parts.decisions)
    with standing_still(who, running, broker):
        parts.show(topic.format(2), 901)
        time.sleep(1.3)
    row = running.has_rows(2)[1]
    assert (row["cause"], row["published"]) == ("late", 0) or (row["cause"], row["published"]) == ("late", None)
    running.until(lambda: bool(parts.beats) and parts.beats[-1]["ready"] == 1, 60, "the gate is ready again")
    assert len(parts.decisions) == told
    assert running.end() == 0


def test_run_frame_older_than_a_trusted_clock_may_be_off_gets_no_new_window(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()
    trusting = LINE.format(port=broker.port, match="single_in_flight").replace('protocol = "3.1.1"\n', "")
    trusting = trusting.replace('trigger_from = "topic"', 'clock = "trusted"\nmax_skew_ms = 5000')
    running = agent(trusting.replace("window_ms = 600", "window_ms = 30000")).start()
    with shop_floor(broker) as floor:
        running.until(floor.is_ready, 60, "the gate is ready")
        for number, age_s in enumerate((0, 8)):
            captured_at = datetime.now(UTC) - timedelta(seconds=age_s)
            floor.show(None, encoded("disc", 900 + number), captured_at=captured_at.isoformat())
            running.has_rows(number + 1)
        assert running.end() == 0
        assert len(floor.of("decision")) == 1
    rows = running.rows()
    assert [(row["cause"], row["published"]) for row in rows] == [("ok", 1), ("late", 0)]


def test_restart_behind_frames_that_wait_tells_no_part_at_a_gate_without_triggers_by_another_frame(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto]
) -> None:
    """Good frames wait, bad parts follow once the gate is ready: each is told by its own frame, or not at all."""
    broker = mosquitto()
    configured = LINE.format(port=broker.port, match="single_in_flight").replace('protocol = "3.1.1"\n', "")
    running = agent(configured.replace('trigger_from = "topic"\n', "").replace("window_ms = 600", "window_ms = 900"))
    running.start()
    with shop_floor(broker) as floor:
        running.until(floor.is_ready, 60, "the gate is ready")
        assert running.end() == 0
        floor.heard.clear()
        for number in range(300):
            floor.show(None, encoded("disc", number % 20))
        running.start(wait=False)
        running.until(floor.is_ready, 120, "the gate is ready again")
        slots = []
        for number in range(7):
            before = len(floor.of("decision"))
            floor.show(None, encoded("disc", 900 + number, is_good=False))
            time.sleep(1)
            slots.append([decision["act"] for decision in floor.of("decision")[before:]])
        running.has_rows(307, 120)
        assert running.end() == 0
        decisions = [decision["act"] for decision in floor.of("decision")]
    assert PASS not in decisions
    assert decisions == [action for slot in slots for action in slot], "none came after the last part had left"
    assert all(len(slot) <= 1 for slot in slots)
    assert [REJECT] in slots
