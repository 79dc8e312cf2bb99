"""Input that can't be true is told by name, and no part passes because of it: clocks, triggers, pictures, commands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.agents import Agent, inspector
from tests.brokers import Mosquitto
from tests.parts import encoded
from tests.shop_floor import PASS, QUARANTINE, ShopFloor, shop_floor

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
window_ms = 30000
"""


def ready(running: Agent, floor: ShopFloor) -> Agent:
    running.start()
    running.until(floor.is_ready, 60, "the gate is ready")
    return running


def events(agent: Agent, kind: str) -> list[dict[str, Any]]:
    return [row for row in agent.rows("events") if row["kind"] == kind]


def good(number: int) -> bytes:
    return encoded("disc", 900 + number)


@pytest.mark.parametrize("hours", [-1, 1])
def test_run_camera_clock_an_hour_off_is_one_alarm_and_makes_no_frame_younger(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto], hours: int
) -> None:
    broker = mosquitto()
    trusting = LINE.format(port=broker.port).replace("[[gate]]", 'clock = "trusted"\n[[gate]]')
    with shop_floor(broker) as floor:
        running = ready(agent(trusting), floor)
        for trigger in (1, 2, 3):
            captured_at = datetime.now(UTC) + timedelta(hours=hours)
            floor.show(trigger, good(trigger), captured_at=captured_at.isoformat())
        rows = running.has_rows(3)
        running.until(lambda: bool(events(running, "camera_clock_off")), 30, "the alarm")
        assert running.end() == 0
        told = [decision["trig"] for decision in floor.of("decision")]
    assert [(row["severity"], row["subject"]) for row in events(running, "camera_clock_off")] == [("alarm", "cam1")]
    if hours < 0:
        assert {(row["cause"], row["published"]) for row in rows} == {("late", 0)}
        assert told == []
    else:
        assert {row["cause"] for row in rows} == {"ok"}
        assert sorted(told) == [1, 2, 3]


def test_run_frames_in_a_row_without_trigger_id_raise_an_alarm(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()
    with shop_floor(broker) as floor:
        running = ready(agent(LINE.format(port=broker.port)), floor)
        for number in range(25):
            floor.show(None, good(number))
        rows = running.has_rows(25)
        running.until(lambda: bool(events(running, "no_trigger_id")), 30, "the alarm")
        assert running.end() == 0
        assert floor.of("decision") == []
    assert {(row["outcome"], row["cause"]) for row in rows} == {("unjudged", "no_trigger_id")}
    assert [(row["severity"], row["subject"]) for row in events(running, "no_trigger_id")] == [("alarm", "cam1")]


def test_run_200_identical_frames_under_rising_triggers_are_told_by_the_fifth_and_pass_no_more(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()
    with shop_floor(broker) as floor:
        running = ready(agent(LINE.format(port=broker.port)), floor)
        for trigger in range(1, 201):
            floor.show(trigger, good(0))
        rows = running.has_rows(200)
        running.until(lambda: len(floor.of("decision")) == 200, 30, "each part is told")
        running.until(lambda: bool(events(running, "camera_repeats")), 30, "the alarm")
        assert running.end() == 0
        told = {decision["trig"]: decision["act"] for decision in floor.of("decision")}
    # Two parts that are judged at once may be told in either order.
    assert sorted(trigger for trigger, action in told.items() if action == PASS) == [1, 2, 3, 4]
    assert Counter(told.values()) == {PASS: 4, QUARANTINE: 196}
    assert Counter(row["cause"] for row in rows) == {"ok": 4, "frame_health": 196}
    (alarm,) = events(running, "camera_repeats")
    assert alarm["severity"] == "alarm"
    assert alarm["detail"].startswith("the last 5 frames are one picture")


def test_run_trigger_beyond_the_modulus_is_undecodable_and_neither_a_reset_nor_told(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()
    with shop_floor(broker) as floor:
        running = ready(agent(LINE.format(port=broker.port) + "trigger_modulus = 65536\n"), floor)
        for count, trigger in enumerate((10, 70000, 11), 1):
            floor.show(trigger, good(count))
            running.has_rows(count)
        running.until(lambda: len(floor.of("decision")) >= 2, 30, "the other parts are told")
        assert running.end() == 0
        told = [(decision["ep"], decision["trig"]) for decision in floor.of("decision")]
    rows = running.rows()
    assert [row["cause"] for row in rows] == ["ok", "undecodable", "ok"]
    assert "70000" in rows[1]["cause_detail"]
    assert {row["epoch"] for row in rows} == {1}
    assert told == [(1, 10), (1, 11)]
    assert events(running, "counter_reset") == []


def test_run_bypass_until_2099_is_refused_and_the_line_goes_on_judging(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()
    with shop_floor(broker) as floor:
        running = ready(agent(LINE.format(port=broker.port)), floor)
        floor.tell("mode", mode="bypass", expires_at="2099-01-01T00:00:00Z")
        running.until(lambda: bool(floor.of("reply")), 30, "the reply")
        floor.show(1, good(1))
        running.until(lambda: bool(floor.of("decision")), 60, "the part is told")
        assert running.end() == 0
        (reply,) = floor.of("reply")
        assert reply["ok"] == 0
        assert "commands.max_mode_h" in reply["detail"]
        assert {beat["mode"] for beat in floor.of("heartbeat")} == {1}
        assert [decision["act"] for decision in floor.of("decision")] == [PASS]
    assert running.rows("gates")[0]["mode"] == "auto"


def test_gate_whose_camera_can_carry_no_trigger_id_is_refused_by_doctor_and_run(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()

    def said(command: str, protocol: str) -> tuple[int, str]:
        config = LINE.format(port=broker.port).replace("[[camera]]", f'protocol = "{protocol}"\n[[camera]]')
        done = inspector(command, "--config", agent(config).config)
        return done.returncode, " ".join(done.stderr.split())

    for command in ("doctor", "run"):
        code, sentence = said(command, "3.1.1")
        assert code == 78
        assert 'in a user property, which MQTT 3.1.1 does not have, and gate "gate1" needs' in sentence.replace(
            "'", '"'
        )
    assert said("doctor", "5")[0] != 78
