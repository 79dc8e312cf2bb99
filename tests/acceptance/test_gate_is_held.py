"""A gate is held and challenged: a real agent, a real broker, a PLC that acknowledges, and kill -9."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import paho.mqtt.client as paho
import pytest

from tests.agents import Agent, inspector
from tests.brokers import Mosquitto
from tests.parts import encoded

pytestmark = pytest.mark.acceptance

LINE = """
[mqtt]
port = {port}
[[camera]]
name = "cam1"
on_unjudged = "quarantine"
trigger_from = "topic"
[[gate]]
name = "gate1"
cameras = ["cam1"]
window_ms = 30000
storm_consecutive = 3
"""

PASS, REJECT, QUARANTINE = 1, 2, 3


class Line:
    """A camera, a PLC that acknowledges each decision while `acknowledges`, and a person who sends commands."""

    def __init__(self, broker: Mosquitto) -> None:
        self.acknowledges = True
        self.decisions: list[dict[str, int]] = []
        self.beats: list[dict[str, int]] = []
        self.replies: list[dict[str, Any]] = []
        self._broker = broker
        self._commands = 0
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="line")
        self._client.on_message = self._note
        self._client.connect("127.0.0.1", broker.port)
        self._client.subscribe([("t/gate/gate1/+", 1), ("t/cmd/+/reply", 1)])
        self._client.loop_start()

    def _note(self, client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        if message.topic.endswith("/reply"):
            self.replies.append(json.loads(message.payload))
        elif message.topic.endswith("/heartbeat"):
            self.beats.append(json.loads(message.payload))
        elif message.topic.endswith("/decision"):
            told = json.loads(message.payload)
            self.decisions.append(told)
            if self.acknowledges:
                ack = {"v": 1, "ep": told["ep"], "trig": told["trig"], "act": told["act"], "src": 1, "done": 1}
                client.publish("t/gate/gate1/ack", json.dumps(ack), qos=1)

    def show(self, trigger: int, *, is_good: bool = True) -> None:
        self._client.publish(f"t/cam1/frame/{trigger}", encoded("disc", 900 + trigger, is_good), qos=1)

    def tell(self, name: str, **keys: Any) -> None:
        self._commands += 1
        now = datetime.now(UTC).isoformat()
        table = {"v": 1, "cmd_id": f"c{self._commands}", "sent_at": now, "by": "ada", "reason": "early shift"}
        self._broker.publish("-t", f"t/cmd/{name}", "-q", "1", "-m", json.dumps(table | {"gate": "gate1"} | keys))

    def told(self, trigger: int) -> list[int]:
        return [decision["act"] for decision in self.decisions if decision["trig"] == trigger]

    def is_beating(self, ready: int, fault: int, mode: int = 1) -> bool:
        last = self.beats[-1] if self.beats else {}
        return (last.get("ready"), last.get("fault"), last.get("mode")) == (ready, fault, mode)

    def end(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def line(mosquitto: Callable[..., Mosquitto]) -> Iterator[tuple[Mosquitto, Line]]:
    broker = mosquitto()
    line = Line(broker)
    yield broker, line
    line.end()


def row_of(agent: Agent, trigger: int) -> dict[str, Any] | None:
    return next((row for row in agent.rows() if row["trigger_id"] == trigger), None)


def kinds(agent: Agent) -> list[str]:
    return [row["kind"] for row in agent.rows("events")]


@pytest.mark.parametrize("stage", ["journaled", "published"])
def test_hold_survives_kill_9_and_no_part_passes_until_a_person_releases_it(
    stage: str, agent: Callable[[str], Agent], line: tuple[Mosquitto, Line]
) -> None:
    broker, plant = line
    running = agent(LINE.format(port=broker.port))
    running.start(INSPECTOR_FAULT_POINT=f"{stage}:3")
    running.until(lambda: plant.is_beating(1, 0), 60, "the gate is ready")
    for trigger in (1, 2, 3):
        plant.show(trigger, is_good=False)
    running.until(running.has_ended, 60, f"killed at {stage}")
    plant.beats.clear()
    running.start()
    running.until(lambda: plant.is_beating(0, 5), 60, "the gate is held again")
    running.until(lambda: kinds(running).count("storm") == 1, 60, "the alarm of the hold, once")
    plant.show(4)
    running.until(lambda: row_of(running, 4) is not None, 60, "the row of a good part")
    row = row_of(running, 4)
    assert row is not None
    assert (row["outcome"], row["action"], row["published"]) == ("pass", "pass", 0)
    assert plant.told(4) == [], "no pass after the hold began"
    plant.tell("release")
    running.until(lambda: plant.is_beating(1, 0), 60, "the gate is ready again")
    plant.show(5)
    running.until(lambda: plant.told(5) == [PASS], 60, "a pass after the release")
    audit = [(row["user_name"], row["object"], row["old_value"]) for row in running.rows("audit")]
    assert ("ada", "gate/gate1/gate", "held: consecutive_rejects") in audit
    assert running.end() == 0


def test_challenge_is_passed_failed_without_acks_and_failed_by_kill_9(
    agent: Callable[[str], Agent], line: tuple[Mosquitto, Line]
) -> None:
    broker, plant = line
    running = agent(LINE.format(port=broker.port)).start()
    running.until(lambda: plant.is_beating(1, 0), 60, "the gate is ready")

    def challenge(first: int, within_s: int) -> None:
        plant.tell("golden", product="disc", good=2, bad=1, within_s=within_s)
        running.until(lambda: plant.is_beating(1, 0, mode=5), 60, "the challenge is under way")
        for trigger in (first, first + 1, first + 2):
            plant.show(trigger, is_good=trigger < first + 2)

    challenge(1, 120)
    running.until(lambda: len(plant.replies) == 2, 60, "the challenge ends")
    assert (plant.replies[1]["ok"], plant.replies[1]["challenge"]["result"]) == (1, "passed")
    running.until(lambda: plant.is_beating(1, 0), 60, "the mode is auto again")

    plant.acknowledges = False
    challenge(11, 8)
    running.until(lambda: plant.is_beating(0, 5), 60, "the gate is held")
    running.until(lambda: len(plant.replies) == 4, 60, "the challenge ends")
    assert (plant.replies[3]["ok"], plant.replies[3]["challenge"]["result"]) == (0, "failed")
    plant.show(20)
    running.until(lambda: plant.told(20) == [QUARANTINE], 60, "the part is told by on_unjudged")
    running.until(lambda: row_of(running, 20) is not None, 60, "the row of a part that is not released")
    row = row_of(running, 20)
    assert row is not None
    assert (row["outcome"], row["cause"]) == ("unjudged", "not_released")

    challenge(31, 3000)
    running.until(lambda: plant.told(33) == [REJECT], 60, "the last reference part is told")
    running.end(signal.SIGKILL)
    plant.beats.clear()
    running.start()
    running.until(lambda: plant.is_beating(0, 5), 60, "the gate is held after kill -9")
    plant.show(40)
    running.until(lambda: plant.told(40) == [QUARANTINE], 60, "no part passes")
    running.until(lambda: running.rows("challenges")[-1]["result"] == "failed", 60, "the end is stored")
    answer = inspector("golden", "--config", running.config, "--json")
    shown = [(each["result"], each["by"], each["reason"], each["product"]) for each in json.loads(answer.stdout)]
    assert shown == [(result, "ada", "early shift", "disc") for result in ("failed", "failed", "passed")]
    kinds = [row["kind"] for row in running.rows("events") if row["kind"].startswith("golden")]
    assert kinds.count("golden_passed") == 1
    plant.tell("release")
    running.until(lambda: plant.is_beating(1, 0), 60, "the gate is ready again")
    assert running.end() == 0
