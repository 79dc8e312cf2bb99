"""Rows against frames: through SIGTERM, kill -9 at every stage of the road, and a broker that goes away."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.agents import Agent
from tests.brokers import Mosquitto
from tests.parts import encoded

pytestmark = pytest.mark.acceptance

STAGES = ["admitted", "decoded", "routed", "scored", "journaled", "published", "recorded", "acknowledged"]

PATIENT = "drain_s = 90\n"
"""Of the agent: a drain must not be cut short because the machine is slow."""

LINE = """
[mqtt]
port = {port}
protocol = "{protocol}"
reconnect_max_s = 1
[[camera]]
name = "cam1"
on_unjudged = "quarantine"
[[gate]]
name = "gate1"
cameras = ["cam1"]
window_ms = 20000
match = "single_in_flight"
"""


def line(broker: Mosquitto, protocol: str = "5") -> str:
    return LINE.format(port=broker.port, protocol=protocol)


class Camera:
    """A camera with a paho client of its own: QoS 1, frame ids where asked, one call for many frames."""

    def __init__(self, broker: Mosquitto, has_ids: bool = True) -> None:
        self._images = [encoded("disc" if n % 2 else "bar", 500 + n, is_good=n % 4 != 0) for n in range(8)]
        self._has_ids = has_ids
        protocol = mqtt.MQTTv5 if has_ids else mqtt.MQTTv311
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        self._client.max_queued_messages_set(0)
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        self.sent = 0

    def shoot(self, frames: int, pause_s: float = 0.0) -> None:
        """Every frame is with the broker when it returns."""
        infos = []
        for _ in range(frames):
            properties = None
            if self._has_ids:
                properties = Properties(PacketTypes.PUBLISH)
                properties.UserProperty = [("frame-id", f"f{self.sent}")]
            image = self._images[self.sent % len(self._images)]
            infos.append(self._client.publish("t/cam1/frame", image, qos=1, properties=properties))
            self.sent += 1
            time.sleep(pause_s)
        for info in infos:
            info.wait_for_publish(30)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


MOST_SWALLOWED = 20
"""Acknowledgements that can be under way when agent or broker die: mosquitto's own bound of frames in flight."""


def check_rows(agent: Agent, sent: int, has_ids: bool = True) -> None:
    """One row each, none twice.

    A frame without any id whose acknowledgement was sent and swallowed by the end of the agent or of the broker comes
    again like a new one: such a frame may have one row more, never one fewer.
    """
    rows = agent.has_rows(sent, 90)
    assert sent <= len(rows) <= sent + (0 if has_ids else MOST_SWALLOWED)
    assert len({row["result_id"] for row in rows}) == len(rows)
    named = [row["frame_id"] for row in rows if row["frame_id"]]
    assert not [name for name, times in Counter(named).items() if times > 1]
    causes = Counter(row["cause"] for row in rows)
    assert set(causes) <= {"ok", "anomaly", "late", "overload"}, causes


@pytest.mark.parametrize("has_ids", [True, False], ids=["frame ids", "no ids"])
def test_sigterm_in_the_middle_of_200_frames_drains_and_the_rest_comes_next_time(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto], has_ids: bool
) -> None:
    broker = mosquitto()
    running = agent(PATIENT + line(broker, "5" if has_ids else "3.1.1")).start()
    camera = Camera(broker, has_ids)
    shooting = threading.Thread(target=camera.shoot, args=(200, 0.004))
    shooting.start()
    running.has_rows(40)
    code = running.end(signal.SIGTERM)
    shooting.join()
    assert code == 0
    assert "drain_cut_short" not in running.log
    running.start()
    check_rows(running, 200, has_ids)
    camera.close()
    assert running.end() == 0
    (agent_row,) = running.rows("agents")
    assert (agent_row["ended_by"], agent_row["ended_at"] is None) == ("SIGTERM", False)
    assert len(running.rows("agent_processors")) == 1


@pytest.mark.parametrize("stage", STAGES)
def test_kill_9_at_a_stage_leaves_one_row_for_each_frame(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto], stage: str
) -> None:
    broker = mosquitto()
    running = agent(line(broker)).start(INSPECTOR_FAULT_POINT=f"{stage}:9")
    camera = Camera(broker)
    camera.shoot(60)
    running.until(running.has_ended, 60, f"killed at {stage}")
    assert running.end() == -signal.SIGKILL
    running.start()
    camera.shoot(10)
    check_rows(running, 70)
    camera.close()
    assert running.end() == 0


def test_kill_9_after_a_decision_went_out_leaves_no_row_that_denies_it(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()
    plc = broker.receive("-t", "t/gate/gate1/decision", "-q", "1", "-C", "1", "-W", "120")
    running = agent(line(broker)).start(INSPECTOR_FAULT_POINT="published:1")
    camera = Camera(broker)
    camera.shoot(1)
    running.until(running.has_ended, 60, "killed after the decision went out")
    output, _ = plc.communicate(timeout=120)
    assert output.count(b'"trig"') == 1
    running.start()
    (row,) = running.has_rows(1)
    assert row["published"] is None, "unknown: the journal was not told"
    camera.close()
    assert running.end() == 0


def test_kill_9_in_the_middle_of_frames_without_ids_leaves_one_row_each(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()
    running = agent(line(broker, "3.1.1")).start()
    camera = Camera(broker, has_ids=False)
    camera.shoot(20)
    running.has_rows(20)
    shooting = threading.Thread(target=camera.shoot, args=(100, 0.002))
    shooting.start()
    running.has_rows(40)
    running.end(signal.SIGKILL)
    shooting.join()
    running.start()
    check_rows(running, 120, has_ids=False)
    camera.close()
    assert running.end() == 0


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_broker_away_and_back_loses_nothing_and_logs_each_edge_once(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto], protocol: str
) -> None:
    broker = mosquitto()
    running = agent(line(broker, protocol)).start()
    camera = Camera(broker)
    camera.shoot(30)
    running.has_rows(30)
    camera.shoot(30)
    broker.stop()
    running.until(lambda: "mqtt_broker_down" in running.log, 20, "the loss is logged")
    time.sleep(2)
    assert running.log.count("mqtt_broker_down") == 1, "one line for down, whatever the number of clients"
    broker.start()
    camera.close()
    again = Camera(broker)
    again.sent = 60
    again.shoot(20)
    check_rows(running, 80, has_ids=protocol == "5")
    running.until(lambda: running.log.count("mqtt_broker_up") == 2, 20, "one line at the start, one for up again")
    assert running.log.count("mqtt_broker_down") == 1
    again.close()
    assert running.end() == 0
