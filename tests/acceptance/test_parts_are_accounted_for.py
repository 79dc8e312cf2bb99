"""What a PLC reports against what it was told: each contradiction is an event by name, and each part has one class."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

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
ack_within_s = 5
account_share = 0.5
account_parts = 10
account_holds = true
"""


def test_contradictions_of_a_plc_are_told_by_name_and_hold_the_gate(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto()
    running = agent(LINE.format(port=broker.port)).start()
    decisions = broker.receive("-t", "t/gate/gate1/decision", "-q", "1", "-C", "3", "-W", "100", "-F", "%p")
    running.until(lambda: "t/gate/gate1/decision (QoS 1)" in broker.log(), 20, "the decisions are listened to")
    for trigger in (1, 2, 3):
        file = tmp_path / "frame.jpg"
        file.write_bytes(encoded("disc", 900 + trigger, is_good=trigger != 2))
        broker.publish("-t", f"t/cam1/frame/{trigger}", "-f", str(file), "-q", "1")
        running.has_rows(trigger)
    output, _ = decisions.communicate(timeout=110)
    told = {each["trig"]: each["act"] for each in map(json.loads, output.decode().splitlines())}
    assert told[2] == 2, "the bad part is told reject"

    def report(trigger: int, act: int, src: int, epoch: int = 1) -> None:
        payload = f'{{"v":1,"ep":{epoch},"trig":{trigger},"act":{act},"src":{src},"done":0}}'
        broker.publish("-t", "t/gate/gate1/ack", "-q", "1", "-m", payload)

    report(1, act=told[1], src=1)
    report(2, act=1, src=1)
    report(2, act=2, src=1)
    report(4711, act=1, src=1, epoch=7)
    for trigger in range(11, 31):
        report(trigger, act=1, src=2)

    def kinds() -> set[str]:
        return {row["kind"] for row in running.rows("events")}

    wanted = {"ack_other_than_told", "ack_contradicts", "ack_of_no_part", "ack_without_frame", "ack_missing"}
    running.until(lambda: wanted | {"account_beyond_bound"} <= kinds(), 60, "every contradiction is an event")
    running.until(lambda: running.rows("gates")[0]["held"] == 1, 20, "the gate is held")
    heartbeat = broker.receive("-t", "t/gate/gate1/heartbeat", "-C", "1", "-W", "30", "-F", "%p")
    output, _ = heartbeat.communicate(timeout=40)
    assert (json.loads(output)["ready"], json.loads(output)["fault"]) == (0, 5)
    shown = inspector("parts", "--config", running.config, "--json", "--class", "done_otherwise")
    account = json.loads(shown.stdout)
    found = {name: count for name, count in account["classes"].items() if count}
    assert found == {"done_as_told": 1, "done_otherwise": 1, "passed_without_frame": 20, "never_acknowledged": 1}
    assert [(part["trigger_id"], part["decided"], part["act"]) for part in account["listed"]] == [(2, "reject", 1)]
    assert running.end() == 0
