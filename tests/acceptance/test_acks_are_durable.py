"""Acknowledgements of a PLC through a stopped agent, a broker that restarts, and kill -9 at every stage."""

from __future__ import annotations

import itertools
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable

import pytest

from tests.agents import Agent
from tests.brokers import Mosquitto
from tests.parts import encoded
from tests.shop_floor import REJECT, shop_floor

pytestmark = pytest.mark.acceptance

STAGES = ["ack_received", "ack_journaled", "ack_recorded", "ack_acknowledged"]
MATCHES = ["trigger_id", "single_in_flight"]

LINE = """
[mqtt]
port = {port}
protocol = "{protocol}"
reconnect_max_s = 0.5
[[camera]]
name = "cam1"
on_unjudged = "quarantine"
[[gate]]
name = "gate1"
cameras = ["cam1"]
window_ms = 20000
match = "{match}"
"""


def line(broker: Mosquitto, match: str = "trigger_id", protocol: str = "5") -> str:
    configured = LINE.format(port=broker.port, match=match, protocol=protocol)
    # Over MQTT 3.1.1 an image has no place for a trigger id but its topic.
    return configured.replace("[[gate]]", 'trigger_from = "topic"\n[[gate]]') if protocol == "3.1.1" else configured


class Plc:
    """Sends acks with mosquitto_pub over MQTT 3.1.1; each is with the broker when `report` returns."""

    def __init__(self, broker: Mosquitto, match: str) -> None:
        self._broker = broker
        self._has_triggers = match == "trigger_id"
        self.sent: Counter[int] = Counter()

    def report(self, numbers: Iterable[int]) -> None:
        triggers = [number if self._has_triggers else 0 for number in numbers]
        lines = [f'{{"v":1,"ep":1,"trig":{trigger},"act":2,"src":2,"done":1}}\n' for trigger in triggers]
        address = ["-h", self._broker.host, "-p", str(self._broker.port)]
        command = ["mosquitto_pub", *address, "-V", "311", "-q", "1", "-t", "t/gate/gate1/ack", "-l"]
        subprocess.run(command, input="".join(lines), text=True, check=True, timeout=60)
        self.sent.update(triggers)


def check_acks(agent: Agent, plc: Plc) -> None:
    """Each report that was sent has one row, and no report has two."""
    count = plc.sent.total()
    agent.until(lambda: len(agent.rows("gate_actions")) >= count, 60, f"{count} acks are stored")
    time.sleep(0.5)  # one too many would come now
    rows = agent.rows("gate_actions")
    assert Counter(row["trigger_id"] for row in rows) == plc.sent
    assert {row["repeats"] for row in rows} == {0}
    assert "gate_actions_lost" not in agent.log


@pytest.mark.parametrize(("match", "protocol"), [("trigger_id", "3.1.1"), ("single_in_flight", "5")])
def test_acks_sent_while_the_agent_is_away_and_the_broker_restarts_are_all_stored_once(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto], match: str, protocol: str
) -> None:
    broker = mosquitto()
    running = agent(line(broker, match, protocol)).start()
    plc = Plc(broker, match)
    plc.report(range(1, 40))
    running.end(signal.SIGKILL)
    plc.report(range(40, 70))
    time.sleep(10)
    broker.restart()
    plc.report(range(70, 100))
    running.start()
    check_acks(running, plc)
    broker.restart()
    plc.report(range(100, 140))
    check_acks(running, plc)
    assert running.end() == 0


@pytest.mark.parametrize(("stage", "match"), list(zip(STAGES, itertools.cycle(MATCHES), strict=False)))
def test_kill_9_at_a_stage_leaves_one_row_for_each_ack(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto], stage: str, match: str
) -> None:
    broker = mosquitto()
    running = agent(line(broker, match)).start(INSPECTOR_FAULT_POINT=f"{stage}:9")
    plc = Plc(broker, match)
    plc.report(range(1, 61))
    running.until(running.has_ended, 60, f"killed at {stage}")
    assert running.end() == -signal.SIGKILL
    plc.report(range(61, 71))
    running.start()
    plc.report(range(71, 81))
    check_acks(running, plc)
    assert running.end() == 0


def test_acks_sent_while_the_broker_stands_still_beyond_the_keepalive_are_all_stored_once(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto]
) -> None:
    """The agent has given its connections up when the broker goes on."""
    broker = mosquitto()
    running = agent(line(broker).replace("reconnect_max_s", "keepalive_s = 2\nreconnect_max_s")).start()
    with shop_floor(broker) as floor:
        running.until(floor.is_ready, 60, "the gate is ready")
        outages = running.log.count("mqtt_broker_down")
        broker.freeze()
        for trigger in range(1, 41):
            floor.report(trigger, REJECT, source=2)
        running.until(lambda: running.log.count("mqtt_broker_down") > outages, 60, "a connection is given up")
        time.sleep(5)  # and so are the others, after the same keep-alive
        broker.thaw()
        running.until(lambda: len(running.rows("gate_actions")) >= 40, 60, "40 acks are stored")
    assert Counter(row["trigger_id"] for row in running.rows("gate_actions")) == dict.fromkeys(range(1, 41), 1)
    assert running.end() == 0


def test_ack_that_comes_three_times_is_one_row_which_counts_them(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()
    running = agent(line(broker)).start()
    with shop_floor(broker) as floor:
        for trigger in (5, 5, 5, 6):
            floor.report(trigger, REJECT, source=2)
        running.until(lambda: 6 in [row["trigger_id"] for row in running.rows("gate_actions")], 60, "the last ack")
    assert running.end() == 0
    rows = running.rows("gate_actions")
    assert [row["trigger_id"] for row in rows] == [5, 6]
    assert [row["repeats"] for row in rows] == [2, 0]


def test_acks_of_a_trigger_that_came_round_again_are_of_two_parts(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()
    running = agent(line(broker) + "trigger_modulus = 32\nmax_gap = 15\n").start()
    with shop_floor(broker) as floor:
        for count in range(1, 40):
            floor.show((count - 1) % 32, encoded("disc", 900 + count))
            if count in (4, 36):
                running.has_rows(count)
                floor.report(3, REJECT, source=2)
                running.until(lambda count=count: len(running.rows("gate_actions")) == 1 + (count == 36), 60, "stored")
        running.has_rows(39)
    assert running.end() == 0
    assert [(row.get("lap"), row["trigger_id"]) for row in running.rows("gate_actions")] == [(0, 3), (1, 3)]
