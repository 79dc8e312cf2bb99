"""The reports of PLCs against a real mosquitto: kept while the agent is away, acknowledged in order, never dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.mqtt.ack_line import IN_FLIGHT, MqttAckLine
from inspector.config.config import Config
from inspector.domain import GateReport
from tests.brokers import Mosquitto, Notebook, RunningClock, line_config, until

PROTOCOLS = ["3.1.1", "5"]
ACK = "p/s/gate/g1/ack"


def payload(trigger: int, act: int = 2) -> str:
    return f'{{"v":1,"ep":3,"trig":{trigger},"act":{act},"src":1,"done":1}}'


class Reader:
    """Takes reports from a line; acknowledges each at once if told so."""

    def __init__(self, line: MqttAckLine, *, is_acknowledging: bool = True) -> None:
        self.line = line
        self.got: list[GateReport] = []
        self._is_acknowledging = is_acknowledging
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for report in self.line.reports():
            self.got.append(report)
            if self._is_acknowledging:
                await self.line.acknowledge(report.position)

    @property
    def triggers(self) -> list[int]:
        return [report.action.trigger_id for report in self.got]


async def report(broker: Mosquitto, *triggers: int) -> None:
    """With mosquitto_pub, one line for each report, each answered by the broker."""
    lines = "\n".join(payload(trigger) for trigger in triggers) + "\n"
    command = ["mosquitto_pub", "-h", broker.host, "-p", str(broker.port), "-q", "1", "-t", ACK, "-l"]
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE)
    await process.communicate(lines.encode())
    assert process.returncode == 0


def config_of(broker: Mosquitto, tmp_path: Path, protocol: str) -> Config:
    return line_config(broker, tmp_path, protocol=protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_ack_line_reports_sent_while_the_agent_is_away_come_when_it_is_back(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    broker = mosquitto()
    config = config_of(broker, tmp_path, protocol)
    async with MqttAckLine(config, RunningClock(), notebook) as line:
        reader = Reader(line)
        await report(broker, 1)
        await until(lambda: reader.triggers == [1])
    await report(broker, 2, 3)
    broker.restart()
    await report(broker, 4)
    async with MqttAckLine(config, RunningClock(), notebook) as line:
        reader = Reader(line)
        await until(lambda: len(reader.got) == 3)
        assert reader.triggers == [2, 3, 4]
        assert not any(each.action.is_redelivered for each in reader.got)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_ack_line_reports_that_were_not_acknowledged_come_again_marked(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    broker = mosquitto()
    config = config_of(broker, tmp_path, protocol)
    async with MqttAckLine(config, RunningClock(), notebook) as line:
        reader = Reader(line, is_acknowledging=False)
        await report(broker, 1, 2, 3)
        await until(lambda: len(reader.got) == 3)
        assert await line.acknowledge(reader.got[0].position)
        first = {each.action.trigger_id: each.action.packet_id for each in reader.got}
    async with MqttAckLine(config, RunningClock(), notebook) as line:
        reader = Reader(line)
        await until(lambda: len(reader.got) == 2)
        assert reader.triggers == [2, 3]
        assert all(each.action.is_redelivered for each in reader.got)
        assert [each.action.packet_id for each in reader.got] == [first[2], first[3]]
        assert not await line.acknowledge(reader.got[0].position.__class__("x", 99, 1)), "of another connection"


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_ack_line_more_than_fit_wait_in_the_broker_and_none_is_dropped(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    broker = mosquitto("max_inflight_messages 0")
    async with MqttAckLine(config_of(broker, tmp_path, protocol), RunningClock(), notebook) as line:
        await report(broker, *range(1000))
        reader = Reader(line, is_acknowledging=False)
        await until(lambda: len(reader.got) >= IN_FLIGHT)
        await asyncio.sleep(0.3)
        assert len(reader.got) < 1000, "what is not acknowledged holds up the rest"
        while len(reader.got) < 1000:
            await line.acknowledge(reader.got[-1].position)
            await asyncio.sleep(0.001)
        assert reader.triggers == list(range(1000))


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_ack_line_bad_reports_are_acknowledged_counted_and_told_once(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    broker = mosquitto()
    config = config_of(broker, tmp_path, protocol)
    await asyncio.to_thread(broker.publish, "-t", ACK, "-q", "1", "-r", "-m", payload(1))
    async with MqttAckLine(config, RunningClock(), notebook) as line:
        reader = Reader(line)
        for bad in ("nonsense", '{"v":1}'):
            await asyncio.to_thread(broker.publish, "-t", ACK, "-q", "1", "-m", bad)
        await report(broker, 4711)
        await until(lambda: bool(reader.got))
    assert reader.triggers == [4711]
    assert notebook.kinds == ["gate_action_bad"]
    assert notebook.counts["gate_actions_bad"] == 3
    async with MqttAckLine(config, RunningClock(), notebook) as line:
        reader = Reader(line)
        await report(broker, 5)
        await until(lambda: bool(reader.got))
    assert reader.triggers == [5], "nothing bad came again"


async def test_ack_line_reports_here_but_not_taken_survive_a_broker_that_forgets_them(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto(is_persistent=False)
    async with MqttAckLine(config_of(broker, tmp_path, "5"), RunningClock(), notebook) as line:
        await report(broker, 1, 2)
        await until(lambda: len(line._ready) == 2)
        broker.kill()
        await until(lambda: not line.is_connected)
        subscribed = broker.log().count("Received SUBSCRIBE from agent1:acks")
        broker.start()
        await until(lambda: broker.log().count("Received SUBSCRIBE from agent1:acks") > subscribed)
        await report(broker, 3)
        reader = Reader(line)
        await until(lambda: len(reader.got) == 3)
        assert reader.triggers == [1, 2, 3]


async def test_ack_line_has_a_persistent_session_and_the_decisions_have_none(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto()
    async with MqttAckLine(config_of(broker, tmp_path, "3.1.1"), RunningClock(), notebook):
        await until(lambda: "agent1:acks (p2, c0, k15)" in broker.log())
