"""Two real agents with separate databases at one gate: nothing that was set at the gate is lost with its owner."""

from __future__ import annotations

import json
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import paho.mqtt.client as paho
import pytest

from tests.acceptance.test_gate_is_held import LINE, PASS, Line, row_of
from tests.acceptance.test_one_agent_per_gate import finding, named
from tests.agents import Agent
from tests.brokers import Mosquitto

pytestmark = pytest.mark.acceptance

LIMIT_S = 120
"""Longest wait for anything, on a machine that is busy with other work."""

FALSE_HERE = {"ack_of_no_part", "ack_contradicts", "ack_missing", "ack_without_frame", "uninspected", "passed_unjudged"}
"""Events of which none is true in these tests: each part is shown, and each decision is acknowledged."""


class Plant(Line):
    """Also notes what each agent says of itself, and sends acks of its own."""

    def __init__(self, broker: Mosquitto) -> None:
        self.states: list[tuple[str, dict[str, Any]]] = []
        super().__init__(broker)
        self._client.subscribe([("t/agent/+/state", 1)])

    def _note(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        if message.topic.startswith("t/agent/"):
            self.states.append((message.topic.split("/")[2], json.loads(message.payload)))
        else:
            super()._note(client, userdata, message)

    def acknowledge(self, epoch: int, trigger: int, action: int, source: int = 1) -> None:
        ack = {"v": 1, "ep": epoch, "trig": trigger, "act": action, "src": source, "done": 1}
        self._client.publish("t/gate/gate1/ack", json.dumps(ack), qos=1)

    def says(self, agent: str) -> dict[str, Any]:
        """What the agent said last of the gate."""
        said = [state["gates"]["gate1"] for name, state in self.states if name == agent and "gates" in state]
        return said[-1] if said else {}

    def epochs(self) -> list[int]:
        return [beat["ep"] for beat in self.beats]


@pytest.fixture
def plant(mosquitto: Callable[..., Mosquitto]) -> Iterator[tuple[Mosquitto, Plant]]:
    broker = mosquitto()
    made = Plant(broker)
    yield broker, made
    # An agent that is asking or has found another owner says so; it never names an owner that it does not know.
    said = [state["gates"]["gate1"] for _, state in made.states if state.get("gates")]
    assert all(each["owner"] is not None for each in said if each["fault"] == "owned_by_other")
    made.end()


def ready(agent: Agent, plant: Plant) -> None:
    agent.until(lambda: plant.is_beating(1, 0), LIMIT_S, "the gate is ready")


def kinds(agent: Agent) -> set[str]:
    return {row["kind"] for row in agent.rows("events")}


def acks(agent: Agent) -> list[tuple[int, int, int]]:
    return [(row["epoch"], row["trigger_id"], row["action"]) for row in agent.rows("gate_actions")]


def state(agent: Agent) -> dict[str, Any]:
    """The stored state of the gate; its keys are None while none is stored."""
    rows = agent.rows("gates")
    return rows[0] if rows else defaultdict(lambda: None)


def follows(second: Agent, plant: Plant, first: str = "first") -> None:
    second.until(
        lambda: plant.says("second") == {"fault": "owned_by_other", "owner": first}, LIMIT_S, "the second one waits"
    )


def test_gate_that_is_held_stays_held_for_the_agent_that_takes_it_over_until_a_person_releases_it(
    agent: Callable[[str], Agent], plant: tuple[Mosquitto, Plant]
) -> None:
    broker, line = plant
    first = named(agent(LINE.format(port=broker.port)), "first").start()
    ready(first, line)
    for _ in range(2):
        line.tell("resync")
    first.until(lambda: line.epochs()[-1] == 3, LIMIT_S, "two new epochs")
    second = named(agent(LINE.format(port=broker.port)), "second").start()
    follows(second, line)

    line.show(1)
    first.until(lambda: (3, 1, PASS) in acks(first), LIMIT_S, "the first part is acknowledged")
    line.tell("job", job_id="J1", lot="L1", product="disc")
    first.until(lambda: len(line.replies) == 3, LIMIT_S, "the owner answers")
    for trigger in (2, 3, 4):
        line.show(trigger, is_good=False)
    first.until(lambda: line.is_beating(0, 5), LIMIT_S, "the gate is held")
    first.until(lambda: state(first)["held_since"] is not None, LIMIT_S, "the hold is stored")
    second.until(lambda: state(second)["held_since"] == state(first)["held_since"], LIMIT_S, "the hold is followed")
    held = state(first)
    told = finding(first.config, "gate1 held")
    assert not told["ok"]
    assert all(word in str(told["detail"]) for word in ("rejects", "first", held["held_since"], "release"))

    first.end(signal.SIGKILL)
    line.beats.clear()
    second.until(lambda: line.is_beating(0, 5), LIMIT_S, "the second one takes the gate over, held")
    assert set(line.epochs()) == {4}, "an epoch above all that are known"
    line.show(5)
    second.until(lambda: row_of(second, 5) is not None, LIMIT_S, "the row of a good part")
    row = row_of(second, 5)
    assert row is not None
    assert (row["outcome"], row["published"], row["epoch"], row["lot"]) == ("pass", 0, 4, "L1")
    assert line.told(5) == []
    taken = state(second)
    same = ("held", "held_for", "held_since", "held_by")
    assert [taken[name] for name in same] == [held[name] for name in same]
    assert taken["held_by"] == "first"

    line.tell("release")
    ready(second, line)
    line.show(6)
    second.until(lambda: (4, 6, PASS) in acks(second), LIMIT_S, "a part after the release is acknowledged")
    assert [(reply["agent"], reply["ok"]) for reply in line.replies] == [("first", 1)] * 3 + [("second", 1)]
    assert not kinds(second) & FALSE_HERE
    assert "storm" not in kinds(second)
    second.until(lambda: "gate_taken_over" in kinds(second), LIMIT_S, "the takeover is recorded")
    for part in [(3, 1, PASS), (3, 2, 2), (3, 3, 2), (3, 4, 2)]:
        assert part in acks(first)

    line.beats.clear()
    first.start()
    first.until(lambda: line.says("first") == {"fault": "owned_by_other", "owner": "second"}, LIMIT_S, "it waits")
    first.until(lambda: state(first)["held"] == 0, LIMIT_S, "it knows that the gate was released")
    assert set(line.epochs()) == {4}


def test_acks_of_another_agents_parts_are_never_stored_as_those_of_own_older_parts(
    agent: Callable[[str], Agent], plant: tuple[Mosquitto, Plant]
) -> None:
    broker, line = plant
    second = named(agent(LINE.format(port=broker.port)), "second").start()
    ready(second, line)
    for trigger in (1, 2):
        line.show(trigger)
    second.until(lambda: {(1, 1, PASS), (1, 2, PASS)} <= set(acks(second)), LIMIT_S, "its own parts")
    assert second.end() == 0
    own = acks(second)
    broker.publish("-t", "t/gate/gate1/owner", "-r", "-n")  # a broker that has lost what it kept

    first = named(agent(LINE.format(port=broker.port)), "first").start()
    ready(first, line)
    second.start()
    follows(second, line)
    line.acknowledges = False
    for trigger in (1, 2, 3):
        line.show(trigger)
    first.until(lambda: line.told(3) == [PASS], LIMIT_S, "the parts of the first agent")
    for trigger in (1, 2):
        line.acknowledge(1, trigger, 2, source=4)  # taken out by hand
    first.until(lambda: {(1, 1, 2), (1, 2, 2)} <= set(acks(first)), LIMIT_S, "the owner stores them")
    first.end(signal.SIGKILL)
    line.acknowledge(1, 3, PASS)  # nobody owns the gate now; the broker keeps it for the owner of the epoch
    line.beats.clear()
    ready(second, line)
    assert set(line.epochs()) == {2}
    line.acknowledges = True
    line.show(4)
    second.until(lambda: (2, 4, PASS) in acks(second), LIMIT_S, "the taker's own part")
    assert acks(second) == [*own, (2, 4, PASS)]
    assert not kinds(second) & FALSE_HERE
    first.start()
    first.until(lambda: (1, 3, PASS) in acks(first), LIMIT_S, "the ack that came while no agent was there")
    assert not kinds(first) & {"ack_of_no_part", "ack_contradicts"}


def test_acks_of_the_change_over_are_stored_by_the_agent_that_takes_over(
    agent: Callable[[str], Agent], plant: tuple[Mosquitto, Plant]
) -> None:
    broker, line = plant
    first = named(agent(LINE.format(port=broker.port)), "first").start()
    ready(first, line)
    second = named(agent(LINE.format(port=broker.port)), "second").start()
    follows(second, line)
    line.acknowledges = False
    for trigger in (1, 2):
        line.show(trigger)
    first.until(lambda: line.told(2) == [PASS], LIMIT_S, "two parts are told")
    second.has_rows(2, LIMIT_S)
    first.end(signal.SIGKILL)
    for trigger in (1, 2):
        line.acknowledge(1, trigger, PASS)
    line.beats.clear()
    ready(second, line)
    second.until(lambda: {(1, 1, PASS), (1, 2, PASS)} <= set(acks(second)), LIMIT_S, "none is lost")
    assert [(row["epoch"], row["trigger_id"]) for row in second.rows()] == [(1, 1), (1, 2)], "parts it has seen"
    assert not kinds(second) & FALSE_HERE
    assert set(line.epochs()) == {2}


def test_mode_with_its_end_and_the_owner_stay_known_while_an_agent_stands_still(
    agent: Callable[[str], Agent], plant: tuple[Mosquitto, Plant]
) -> None:
    broker, line = plant
    first = named(agent(LINE.format(port=broker.port)), "first").start()
    ready(first, line)
    second = named(agent(LINE.format(port=broker.port)), "second").start()
    follows(second, line)
    until = datetime.now(UTC) + timedelta(hours=1)
    line.tell("mode", mode="bypass", expires_at=until.isoformat())
    second.until(lambda: state(second)["mode"] == "bypass", LIMIT_S, "the mode is followed")
    assert first.process is not None
    first.process.send_signal(signal.SIGSTOP)
    second.until(lambda: line.epochs()[-1] == 2, LIMIT_S, "the second one takes over")
    assert line.is_beating(1, 0, mode=2)
    assert state(second)["mode_expires_at"] == state(first)["mode_expires_at"]
    first.process.send_signal(signal.SIGCONT)
    first.until(lambda: line.says("first") == {"fault": "owned_by_other", "owner": "second"}, LIMIT_S, "it waits")
    line.tell("mode", mode="auto")
    second.until(lambda: line.is_beating(1, 0, mode=1), LIMIT_S, "the mode is auto")
    line.beats.clear()
    line.show(1)
    second.until(lambda: line.told(1) == [PASS], LIMIT_S, "the part is told")
    assert [(reply["agent"], reply["ok"]) for reply in line.replies] == [("first", 1), ("second", 1)]
    assert set(line.epochs()) <= {2}


def test_challenge_whose_agent_dies_has_failed_for_the_agent_that_takes_over(
    agent: Callable[[str], Agent], plant: tuple[Mosquitto, Plant]
) -> None:
    broker, line = plant
    first = named(agent(LINE.format(port=broker.port)), "first").start()
    ready(first, line)
    second = named(agent(LINE.format(port=broker.port)), "second").start()
    follows(second, line)
    line.tell("golden", product="disc", good=2, bad=1, within_s=3000)
    first.until(lambda: line.is_beating(1, 0, mode=5), LIMIT_S, "the challenge is under way")
    second.until(lambda: '"c1"' in str(state(second)["golden"]), LIMIT_S, "it is followed")
    second.until(lambda: "command_left_to_owner" in kinds(second), LIMIT_S, "the second one leaves it to the owner")
    assert [(reply["agent"], reply["ok"]) for reply in line.replies] == [("first", 1)]
    first.end(signal.SIGKILL)
    line.beats.clear()
    second.until(lambda: line.is_beating(0, 5), LIMIT_S, "the gate is held")
    assert not any(beat["ready"] for beat in line.beats), "at no moment"
    second.until(lambda: state(second)["held_for"] == "golden_failed", LIMIT_S, "the hold is stored")
    line.tell("release")
    ready(second, line)
