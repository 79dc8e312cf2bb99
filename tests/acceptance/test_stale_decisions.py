"""Whatever stood still: a gate is never told of a part by a frame that is older than its window."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import paho.mqtt.client as paho
import pytest

from tests.agents import Agent
from tests.brokers import Mosquitto
from tests.parts import encoded

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
