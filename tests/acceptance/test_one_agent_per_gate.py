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
LIMIT_S = 120
"""Longest wait for anything, on a machine that is busy with other work."""


STARTING = {0, 1, 2, 4, 6}
"""Faults of an agent that owns its gate and has just started, or has much to do."""


def named(made: Agent, name: str) -> Agent:
    """The same agent under another name."""
    made.config.write_text(made.config.read_text().replace('name = "agent"', f'name = "{name}"'))
    return made


def is_ready(line: Line) -> bool:
    return bool(line.beats) and line.beats[-1]["ready"] == 1


def configuration(broker: Mosquitto) -> str:
    return LINE.format(port=broker.port, match="trigger_id").replace("window_ms = 600", "window_ms = 60000")


def finding(config: Path, subject: str) -> dict[str, object]:
    done = inspector("doctor", "--config", config, "--json")
    return next(each for each in json.loads(done.stdout) if each["subject"] == subject)


def test_run_second_agent_at_a_gate_is_refused_named_and_follows_when_the_first_dies(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()
    line = Line(broker.port)
    first = named(agent(configuration(broker)), "first").start()
    first.until(lambda: is_ready(line), LIMIT_S, "the gate is ready")
    second = named(agent(configuration(broker)), "second").start()
    second.until(lambda: "gate_owned_by_other" in second.log, LIMIT_S, "the second agent sees the first")
    line.show(FRAME.format(1), 900)
    (one,) = first.has_rows(1, LIMIT_S)
    (other,) = second.has_rows(1, LIMIT_S)
    assert (one["published"], other["published"]) == (1, 0), "each judges the frame, one of them tells the gate"
    assert [decision["trig"] for decision in line.decisions] == [1]
    assert {beat["fault"] for beat in line.beats} <= STARTING, "no heartbeat of the second agent"
    numbers = [beat["hb"] for beat in line.beats]
    assert numbers == sorted(numbers), "all of one agent"

    mine, others = (finding(each.config, "owner of gate1") for each in (first, second))
    assert not mine["ok"]
    assert "second (session" in str(mine["detail"])
    assert not others["ok"]
    assert "first (session" in str(others["detail"])
    first.until(lambda: "gate_second_agent" in first.log, LIMIT_S, "the first agent names the second")

    first.end(signal.SIGKILL)
    second.until(
        lambda: "gate_owned agent" in second.log or "gate_owned " in second.log, LIMIT_S, "the second one follows"
    )
    line.beats.clear()
    second.until(lambda: is_ready(line), LIMIT_S, "its heartbeat says ready")
    line.show(FRAME.format(2), 901)
    assert second.has_rows(2, LIMIT_S)[1]["published"] == 1
    assert [decision["trig"] for decision in line.decisions] == [1, 2]

    first.start()
    first.until(lambda: "gate_owned_by_other" in first.log, LIMIT_S, "the first one finds its gate taken")
    line.show(FRAME.format(3), 902)
    assert second.has_rows(3, LIMIT_S)[2]["published"] == 1
    line.end()


def test_run_agent_that_was_killed_owns_its_gate_again_without_waiting_for_anybody(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()
    line = Line(broker.port)
    running = agent(configuration(broker)).start()
    running.until(lambda: is_ready(line), LIMIT_S, "the gate is ready")
    running.end(signal.SIGKILL)
    line.beats.clear()
    running.start()
    line.show(FRAME.format(1), 900)
    assert running.has_rows(1, LIMIT_S)[0]["published"] == 1, "the first frame after the start is told"
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
    first.until(lambda: is_ready(plcs[0]), LIMIT_S, "the gate is ready")
    shared = f'[store]\nurl = "sqlite:///{first.state / "inspector.db"}"\n'
    second = named(agent(configuration(other_broker) + shared), "second").start()
    second.until(lambda: "gate_owned_by_other" in second.log, LIMIT_S, "the second agent sees the first")
    second.until(lambda: bool(plcs[1].beats), LIMIT_S, "the second agent's PLC hears why")
    assert {(beat["ready"], beat["fault"]) for beat in plcs[1].beats} == {(0, 9)}
    plcs[1].show(FRAME.format(1), 900)
    second.until(lambda: bool(first.rows()), LIMIT_S, "the frame has its row")
    assert plcs[1].decisions == []
    assert not finding(second.config, "owner of gate1")["ok"]
    for plc in plcs:
        plc.end()
