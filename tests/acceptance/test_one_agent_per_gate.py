"""Two real agents at one gate: one of them decides, the other one says so, and follows when the first is gone."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.test_stale_decisions import LINE, Line
from tests.agents import Agent, inspector
from tests.brokers import Mosquitto

pytestmark = pytest.mark.acceptance

FRAME = "t/cam1/frame/{}"


def named(made: Agent, name: str) -> Agent:
    """The same agent under another name."""
    made.config.write_text(made.config.read_text().replace('name = "agent"', f'name = "{name}"'))
    return made


def is_ready(line: Line) -> bool:
    return bool(line.beats) and line.beats[-1]["ready"] == 1


def configuration(broker: Mosquitto) -> str:
    return LINE.format(port=broker.port, match="trigger_id").replace("600", "5000")


def finding(config: Path, subject: str) -> dict[str, object]:
    done = inspector("doctor", "--config", config, "--json")
    return next(each for each in json.loads(done.stdout) if each["subject"] == subject)


def test_run_second_agent_at_a_gate_is_refused_named_and_follows_when_the_first_dies(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()
    line = Line(broker.port)
    first = named(agent(configuration(broker)), "first").start()
    first.until(lambda: is_ready(line), 60, "the gate is ready")
    second = named(agent(configuration(broker)), "second").start()
    second.until(lambda: "gate_owned_by_other" in second.log, 30, "the second agent sees the first")
    line.show(FRAME.format(1), 900)
    (one,) = first.has_rows(1)
    (other,) = second.has_rows(1)
    assert (one["published"], other["published"]) == (1, 0), "each judges the frame, one of them tells the gate"
    assert [decision["trig"] for decision in line.decisions] == [1]
    assert all(beat["ready"] == 1 for beat in line.beats[3:])

    mine, others = (finding(each.config, "owner of gate1") for each in (first, second))
    assert not mine["ok"]
    assert "second (session" in str(mine["detail"])
    assert not others["ok"]
    assert "first (session" in str(others["detail"])
    first.until(lambda: "gate_second_agent" in first.log, 30, "the first agent names the second")

    first.end(signal.SIGKILL)
    second.until(lambda: "gate_owned agent" in second.log or "gate_owned " in second.log, 30, "the second one follows")
    line.beats.clear()
    second.until(lambda: is_ready(line), 30, "its heartbeat says ready")
    line.show(FRAME.format(2), 901)
    assert second.has_rows(2)[1]["published"] == 1
    assert [decision["trig"] for decision in line.decisions] == [1, 2]

    first.start()
    first.until(lambda: "gate_owned_by_other" in first.log, 30, "the first one finds its gate taken")
    line.show(FRAME.format(3), 902)
    assert second.has_rows(3)[2]["published"] == 1
    line.end()


def test_run_agent_that_was_killed_owns_its_gate_again_without_waiting_for_anybody(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()
    line = Line(broker.port)
    running = agent(configuration(broker)).start()
    running.until(lambda: is_ready(line), 60, "the gate is ready")
    running.end(signal.SIGKILL)
    line.beats.clear()
    running.start()
    line.show(FRAME.format(1), 900)
    assert running.has_rows(1)[0]["published"] == 1, "the first frame after the start is told"
    assert "gate_owned_by_other" not in running.log
    owners = running.rows("gate_owners")
    assert [(row["gate"], row["agent"]) for row in owners] == [("gate1", "agent")]
    line.end()


def test_run_agents_that_share_a_database_but_no_broker_see_each_other(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto]
) -> None:
    one_broker, other_broker = mosquitto(), mosquitto()
    plcs = [Line(broker.port) for broker in (one_broker, other_broker)]
    first = named(agent(configuration(one_broker)), "first").start()
    first.until(lambda: is_ready(plcs[0]), 60, "the gate is ready")
    shared = f'[store]\nurl = "sqlite:///{first.state / "inspector.db"}"\n'
    second = named(agent(configuration(other_broker) + shared), "second").start()
    second.until(lambda: "gate_owned_by_other" in second.log, 30, "the second agent sees the first")
    second.until(lambda: bool(plcs[1].beats), 30, "the second agent's PLC hears why")
    assert {(beat["ready"], beat["fault"]) for beat in plcs[1].beats} == {(0, 9)}
    plcs[1].show(FRAME.format(1), 900)
    second.until(lambda: bool(first.rows()), 30, "the frame has its row")
    assert plcs[1].decisions == []
    assert not finding(second.config, "owner of gate1")["ok"]
    for plc in plcs:
        plc.end()
