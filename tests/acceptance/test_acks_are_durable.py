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
    return LINE.format(port=broker.port, match=match, protocol=protocol)


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
