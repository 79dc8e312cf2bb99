"""The wire to the gates against a real mosquitto: in time or never, and never twice."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connectors.mqtt.foreign_decisions import MOST_HEARD
from connectors.mqtt.gate_line import MqttGateLine
from inspector.domain import Action, Cause, Decision, ResultId, Severity
from tests.brokers import Mosquitto, Notebook, RunningClock, line_config, until

PROTOCOLS = ["3.1.1", "5"]
TOPIC = "p/s/gate/g1/decision"


def decide(trigger_id: int, window_s: float = 10.0) -> Decision:
    until_ns = time.monotonic_ns() + int(window_s * 1e9)
    return Decision("g1", 3, trigger_id, Action.PASS, Cause.OK, ResultId("r"), datetime.now(UTC), until_ns)


class Plc:
    """What stands on the gate's decision topic, read by mosquitto_sub, a client that is not ours."""

    def __init__(self, broker: Mosquitto, *arguments: str) -> None:
        self._broker = broker
        self._process = broker.receive("-t", TOPIC, "-q", "1", *arguments)

    async def ready(self) -> Plc:
        await until(lambda: "Received SUBSCRIBE" in self._broker.log())
        return self

    def read_until(self, trigger_id: int) -> list[int]:
        """Trigger ids of all decisions up to and including that one."""
        seen: list[int] = []
        assert self._process.stdout is not None
        for line in self._process.stdout:
            seen.append(json.loads(line)["trig"])
            if seen[-1] == trigger_id:
                return seen
        raise AssertionError(f"mosquitto_sub ended after {seen}")

    def close(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=5)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_gate_line_decision_in_time_is_published_as_the_contract_says(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    broker = mosquitto()
    config = line_config(broker, tmp_path, protocol=protocol)
    sub = broker.receive("-t", "p/s/gate/#", "-q", "1", "-C", "2", "-W", "20", "-F", "%t %q %r %p")
    await until(lambda: "Received SUBSCRIBE" in broker.log())
    async with MqttGateLine(config, RunningClock(), notebook) as line:
        assert await line.publish(decide(4711, window_s=1000))
        await line.heartbeat("g1", {"ready": 1, "fault": 0, "hb": 7, "mode": 1, "ep": 3})
        output, _ = await asyncio.to_thread(sub.communicate, timeout=20)
    decision, heartbeat = output.decode().splitlines()
    topic, qos, retained, payload = decision.split(" ", 3)
    assert (topic, qos, retained) == (TOPIC, "1", "0")
    assert payload.startswith('{"v":1,"ep":3,"trig":4711,"act":1,"code":0,"left_ms":9'), "of 1000 s"
    assert heartbeat == 'p/s/gate/g1/heartbeat 0 0 {"v":1,"ready":1,"fault":0,"hb":7,"mode":1,"ep":3}'


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_gate_line_decision_whose_time_is_over_is_never_sent(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    broker = mosquitto()
    plc = await Plc(broker).ready()
    async with MqttGateLine(line_config(broker, tmp_path, protocol=protocol), RunningClock(), notebook) as line:
        assert not await line.publish(decide(1, window_s=-0.001))
        assert await line.publish(decide(2))
        assert await asyncio.to_thread(plc.read_until, 2) == [2]
    plc.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_gate_line_decision_that_could_not_reach_the_plc_in_time_is_never_sent(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    broker = mosquitto()
    config = line_config(broker, tmp_path, protocol=protocol)
    gates = tuple(gate.model_copy(update={"window_ms": 500_000.0, "transport_ms": 60_000.0}) for gate in config.gate)
    plc = await Plc(broker).ready()
    async with MqttGateLine(config.model_copy(update={"gate": gates}), RunningClock(), notebook) as line:
        assert await line.publish(decide(1, window_s=60)) is False
        assert await line.publish(decide(2, window_s=400))
        assert await asyncio.to_thread(plc.read_until, 2) == [2]
    plc.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_gate_line_unacknowledged_decision_is_not_sent_again_after_a_reconnect(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    broker = mosquitto()
    config = line_config(broker, tmp_path, protocol=protocol)
    async with MqttGateLine(config, RunningClock(), notebook) as line:
        broker.freeze()
        waiting = asyncio.create_task(line.publish(decide(1, window_s=30)))
        await asyncio.sleep(0)
        broker.kill()
        assert await waiting is None, "the broker may have had it"
        assert await line.publish(decide(2)) is False, "a decision while the line is down is refused at once"
        broker.start()
        plc = await Plc(broker).ready()
        await until(lambda: line.is_connected)
        assert await line.publish(decide(3))
        assert await asyncio.to_thread(plc.read_until, 3) == [3]
    plc.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_gate_line_late_puback_of_a_decision_that_went_out_is_reported_as_unknown(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    broker = mosquitto()
    plc = await Plc(broker).ready()
    async with MqttGateLine(line_config(broker, tmp_path, protocol=protocol), RunningClock(), notebook) as line:
        broker.freeze()
        assert await line.publish(decide(1, window_s=0.1)) is None
        broker.thaw()
        assert await line.publish(decide(2))
        assert await asyncio.to_thread(plc.read_until, 2) == [1, 2], "it went out, and no row may deny that"
    plc.close()


async def test_gate_line_decision_whose_time_is_over_is_reported_as_not_published(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto()
    async with MqttGateLine(line_config(broker, tmp_path), RunningClock(), notebook) as line:
        assert await line.publish(decide(1, window_s=-0.001)) is False


async def test_gate_line_decision_stuck_on_this_machine_is_destroyed_at_its_deadline(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto()
    plc = await Plc(broker).ready()
    async with MqttGateLine(line_config(broker, tmp_path), RunningClock(), notebook) as line:
        connection = line._session.connection
        assert connection is not None
        broker.freeze()
        for _ in range(20):  # the socket buffers of both sides are full then
            connection.send("p/s/filler", b"x" * 1_000_000)
        assert connection.is_jammed
        assert not await line.publish(decide(1, window_s=0.1))
        assert not connection.is_open
        broker.thaw()
        await until(lambda: line.is_connected)
        assert await line.publish(decide(2))
        assert await asyncio.to_thread(plc.read_until, 2) == [2]
    plc.close()


async def test_gate_line_loop_watches_for_room_only_while_the_kernel_has_none(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = mosquitto()
    async with MqttGateLine(line_config(broker, tmp_path), RunningClock(), notebook) as line:
        connection = line._session.connection
        assert connection is not None
        watched: list[int] = []
        await_room = connection._bridge._await_room

        def noted(fd: int) -> None:
            watched.append(fd)
            await_room(fd)

        monkeypatch.setattr(connection._bridge, "_await_room", noted)
        for number in range(20):
            assert await line.publish(decide(number))
        assert not watched
        broker.freeze()
        for _ in range(20):
            connection.send("p/s/filler", b"x" * 1_000_000)
        assert connection.is_jammed
        await until(lambda: bool(watched))
        broker.thaw()
        await until(lambda: not connection.is_jammed)  # nobody sends anything else meanwhile
        assert await line.publish(decide(21))


async def test_gate_line_many_at_once_wait_for_room_and_all_arrive(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto("max_inflight_messages 5")
    async with MqttGateLine(line_config(broker, tmp_path), RunningClock(), notebook) as line:
        assert all(await asyncio.gather(*(line.publish(decide(number)) for number in range(100))))


async def test_gate_line_has_nagle_off_and_a_clean_session(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto()
    async with MqttGateLine(line_config(broker, tmp_path, protocol="3.1.1"), RunningClock(), notebook) as line:
        connection = line._session.connection
        assert connection is not None
        sock = connection._client.socket()
        assert isinstance(sock, socket.socket)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        await until(lambda: "agent1:gates (p2, c1, k15)" in broker.log())


FORGED = '{"v":1,"ep":3,"trig":9,"act":1,"code":0,"left_ms":30}'


async def test_gate_line_tells_of_decisions_that_somebody_else_publishes(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto()
    async with MqttGateLine(line_config(broker, tmp_path), RunningClock(), notebook) as line:
        await until(lambda: "Received SUBSCRIBE from agent1:gates" in broker.log())
        for trigger in range(50):
            assert await line.publish(decide(trigger))
        assert notebook.counts == {}, "the broker sends none of its own: the watch costs the road nothing"
        await asyncio.to_thread(broker.publish, "-t", TOPIC, "-q", "1", "-m", FORGED)
        await until(lambda: "decision_foreign" in notebook.kinds)
        (event,) = notebook.events
        assert (event.severity, event.subject) == (Severity.ALARM, "g1")
        assert FORGED in event.detail
        forger = ["mosquitto_pub", "-h", broker.host, "-p", str(broker.port), "-t", TOPIC, "-q", "1", "-l"]
        lines = f"{FORGED}\n".encode() * 2000
        await asyncio.to_thread(subprocess.run, forger, input=lines, check=True, timeout=60)
        await until(lambda: "Received UNSUBSCRIBE from agent1:gates" in broker.log())
        assert await line.publish(decide(99)), "a flood is left alone, and the line goes on"
    assert notebook.kinds == ["decision_foreign"]
    assert notebook.counts["decisions_foreign"] >= MOST_HEARD


async def test_gate_line_tells_of_a_retained_decision(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto()
    await asyncio.to_thread(broker.publish, "-t", TOPIC, "-q", "1", "-r", "-m", FORGED)
    async with MqttGateLine(line_config(broker, tmp_path), RunningClock(), notebook):
        await until(lambda: "decision_foreign" in notebook.kinds)
    assert "a retained one, which every PLC gets" in notebook.events[0].detail


async def test_gate_line_leaves_the_decisions_of_another_owner_alone(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto()
    async with MqttGateLine(line_config(broker, tmp_path), RunningClock(), notebook, owns=lambda _: False) as line:
        await until(lambda: "Received SUBSCRIBE from agent1:gates" in broker.log())
        await asyncio.to_thread(broker.publish, "-t", TOPIC, "-q", "1", "-m", FORGED)
        await until(lambda: "Sending PUBLISH to agent1:gates" in broker.log())
        await asyncio.sleep(0.1)
        assert line.is_connected
    assert notebook.kinds == []


async def test_gate_line_whose_decisions_the_broker_refuses_says_so_once(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    access = tmp_path / "access"
    access.write_text("topic readwrite p/s/gate/+/heartbeat\ntopic read p/s/gate/+/decision\n")
    broker = mosquitto(f"acl_file {access}")
    async with MqttGateLine(line_config(broker, tmp_path), RunningClock(), notebook) as line:
        trigger = refused = 0
        while refused < 3:
            await until(lambda: line.is_connected)
            answer = await line.publish(decide(trigger, window_s=1000))
            assert not answer
            refused += answer is False  # None: the connection ended just then
            trigger += 1
    refusals = [event for event in notebook.events if event.kind == "decision_refused"]
    assert [(event.severity, event.subject) for event in refusals] == [(Severity.ALARM, "g1")]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_gate_line_whose_client_id_is_taken_says_so(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    broker = mosquitto()
    async with MqttGateLine(line_config(broker, tmp_path, protocol=protocol), RunningClock(), notebook):
        thief = broker.receive("-t", "elsewhere", "-i", "agent1:gates")  # it connects again each time
        await until(lambda: "name_taken" in notebook.kinds, 30)
        thief.terminate()
        thief.communicate(timeout=5)
    event = notebook.events[notebook.kinds.index("name_taken")]
    assert event.severity is Severity.ALARM
    assert "agent1:gates" in event.detail
