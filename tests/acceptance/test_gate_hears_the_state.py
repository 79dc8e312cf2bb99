"""What a gate and a dashboard hear of an agent that stops, of a new epoch, and of a decision whose answer is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import paho.mqtt.client as paho
import pytest

from tests.agents import Agent
from tests.brokers import Mosquitto
from tests.parts import encoded
from tests.shop_floor import shop_floor

pytestmark = pytest.mark.acceptance

LINE = """
[mqtt]
port = {port}
[[camera]]
name = "cam1"
on_unjudged = "quarantine"
[[gate]]
name = "gate1"
cameras = ["cam1"]
window_ms = {window_ms}
"""

STOPPING = 8


def test_run_stopped_agent_says_in_its_last_heartbeat_that_the_gate_is_not_ready(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()
    with shop_floor(broker) as floor:
        running = agent(LINE.format(port=broker.port, window_ms=30000)).start()
        running.until(floor.is_ready, 60, "the gate is ready")
        assert running.end() == 0
        last = floor.of("heartbeat")[-1]
    assert (last["ready"], last["fault"]) == (0, STOPPING)


def test_run_stopped_agent_leaves_its_camera_offline_in_the_state_that_the_broker_keeps(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()
    running = agent(LINE.format(port=broker.port, window_ms=30000)).start()
    with shop_floor(broker) as floor:
        running.until(lambda: "online" in [said["state"] for said in floor.of("health")], 60, "the camera is online")
    assert running.end() == 0
    with shop_floor(broker) as later:
        running.until(lambda: bool(later.of("health")), 30, "the state that the broker keeps")
        assert later.of("health")[0]["state"] == "offline"


def test_run_heartbeat_with_the_new_epoch_comes_before_its_first_decision(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()
    rarely = "heartbeat_ms = 1400\n"
    with shop_floor(broker) as floor:
        running = agent(rarely + LINE.format(port=broker.port, window_ms=30000)).start()
        running.until(floor.is_ready, 60, "the gate is ready")
        for count, trigger in enumerate((5000, 3, 7000), 1):
            floor.show(trigger, encoded("disc", 900 + count))
            running.until(lambda count=count: len(floor.of("decision")) == count, 60, "the part is told")
        heard = [(topic.rpartition("/")[2], said["ep"]) for topic, said in floor.heard if "ep" in said]
        assert running.end() == 0
    for epoch in (2, 3):
        assert heard.index(("heartbeat", epoch)) < heard.index(("decision", epoch))


@contextmanager
def frozen_by_a_frame(broker: Mosquitto) -> Iterator[threading.Event]:
    """A client of the frame topic. The broker stands still from the next frame on that comes while the event is set."""
    is_armed = threading.Event()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="watcher")

    def freeze(*_: object) -> None:
        if is_armed.is_set():
            is_armed.clear()
            broker.freeze()

    client.on_message = freeze
    client.connect(broker.host, broker.port)
    client.subscribe("t/cam1/frame", 1)
    client.loop_start()
    yield is_armed
    client.disconnect()
    client.loop_stop()


def test_run_decision_whose_answer_the_broker_owes_is_denied_by_no_row(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto]
) -> None:
    """The broker stands still with the decision in its socket, and tells the gate of it once it goes on."""
    broker = mosquitto()
    running = agent(LINE.format(port=broker.port, window_ms=1500)).start()
    with shop_floor(broker) as floor, frozen_by_a_frame(broker) as is_armed:
        for trigger in range(1, 31):
            running.until(floor.is_ready, 60, "the gate is ready")
            is_armed.set()
            floor.show(trigger, encoded("disc", 900 + trigger))
            running.until(lambda: not is_armed.is_set(), 60, "the broker stands still")
            row = running.has_rows(trigger)[-1]
            beats = len(floor.of("heartbeat"))
            broker.thaw()
            running.until(lambda beats=beats: len(floor.of("heartbeat")) > beats, 60, "what came before a heartbeat")
            is_told = trigger in [decision["trig"] for decision in floor.of("decision")]
            assert not (is_told and row["published"] == 0)
            if is_told and row["published"] is None:
                break
        else:
            pytest.fail("no decision was under way while the broker stood still")
    assert running.end() == 0
