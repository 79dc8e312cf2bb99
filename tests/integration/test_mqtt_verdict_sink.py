"""The record of verdicts against a real mosquitto: nothing is lost while the broker is away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connectors.mqtt.verdict_sink import MqttVerdictSink
from inspector.domain import Action, Cause, Identity, Outcome, ResultId, Verdict
from tests.brokers import Mosquitto, Notebook, RunningClock, line_config, until

PROTOCOLS = ["3.1.1", "5"]
STATE = "p/s/agent/agent1/state"
NOW = datetime(2025, 1, 1, tzinfo=UTC)


def make_verdict(number: int, outcome: Outcome = Outcome.PASS) -> Verdict:
    return Verdict(
        result_id=ResultId(f"r{number}"),
        camera="cam1",
        view="",
        epoch=1,
        frame_id=None,
        trigger_id=number,
        part_id=None,
        outcome=outcome,
        cause=Cause.OK if outcome is Outcome.PASS else Cause.ANOMALY,
        cause_detail=None,
        action=Action.PASS,
        received_at=NOW,
        decided_at=NOW,
        identity=Identity.STRONG,
        agent="agent1",
        software="0",
        config_digest="d",
    )


async def read_state(broker: Mosquitto, wanted: str) -> dict[str, object]:
    """The retained state of the agent, once it is the wanted one."""
    async with asyncio.timeout(15):
        while True:
            sub = broker.receive("-t", STATE, "-C", "1", "-W", "5", "-F", "%r %p")
            output, _ = await asyncio.to_thread(sub.communicate, timeout=10)
            retained, payload = output.decode().split(" ", 1)
            state: dict[str, object] = json.loads(payload)
            if retained == "1" and state["state"] == wanted:
                return state


async def listen(broker: Mosquitto, topic: str, count: int) -> asyncio.Task[list[str]]:
    """What mosquitto_sub gets on that topic, subscribed when this returns."""
    before = broker.log().count("Received SUBSCRIBE")
    sub = broker.receive("-t", topic, "-q", "1", "-C", str(count), "-W", "30", "-F", "%r %p")
    await until(lambda: broker.log().count("Received SUBSCRIBE") > before)

    async def lines() -> list[str]:
        output, _ = await asyncio.to_thread(sub.communicate, timeout=40)
        return output.decode().splitlines()

    return asyncio.create_task(lines())


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_sink_verdict_goes_out_as_record_and_a_reject_twice(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    broker = mosquitto()
    verdicts = await listen(broker, "p/s/cam1/verdict", 2)
    rejects = await listen(broker, "p/s/cam1/reject", 1)
    async with MqttVerdictSink(line_config(broker, tmp_path, protocol=protocol), RunningClock(), notebook) as sink:
        await sink.publish(make_verdict(1))
        await sink.publish(make_verdict(2, Outcome.REJECT))
        assert await sink.flush(10)
    records = [json.loads(line.split(" ", 1)[1]) for line in await verdicts]
    assert [(each["schema"], each["result_id"], each["outcome"]) for each in records] == [
        (1, "r1", "pass"),
        (1, "r2", "reject"),
    ]
    assert [line.split(" ", 1)[0] for line in await verdicts] == ["0", "0"]
    assert json.loads((await rejects)[0].split(" ", 1)[1]) == records[1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_sink_records_made_during_an_outage_arrive_in_order_after_it(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    broker = mosquitto()
    # The broker keeps this subscription while it is down, so the reader need not be faster than the sink.
    kept = ("-c", "-i", "reader", "-t", "p/s/cam1/verdict", "-q", "1")
    await asyncio.to_thread(broker.receive(*kept, "-E").communicate, timeout=10)
    async with MqttVerdictSink(line_config(broker, tmp_path, protocol=protocol), RunningClock(), notebook) as sink:
        broker.stop()
        await until(lambda: not sink.is_connected)
        for number in range(300):
            await sink.publish(make_verdict(number))
        assert not await sink.flush(0.01)
        broker.start()
        assert await sink.flush(20)
    output, _ = await asyncio.to_thread(broker.receive(*kept, "-C", "300", "-W", "20").communicate, timeout=30)
    numbers = [json.loads(line)["trigger_id"] for line in output.splitlines()]
    assert numbers == list(range(300))


async def test_sink_beyond_its_bound_drops_the_oldest_with_one_event(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto()
    config = line_config(broker, tmp_path, record_queue=100)
    async with MqttVerdictSink(config, RunningClock(), notebook) as sink:
        broker.stop()
        await until(lambda: not sink.is_connected)
        for number in range(150):
            await sink.publish(make_verdict(number))
        assert sink.unsent == 100
        assert notebook.counts["records_dropped"] == 50
        assert notebook.kinds == ["records_dropped"]
        broker.start()
        assert await sink.flush(20)


async def test_sink_record_lost_on_the_way_is_sent_again(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto()
    async with MqttVerdictSink(line_config(broker, tmp_path), RunningClock(), notebook) as sink:
        broker.freeze()
        for number in range(100):
            await sink.publish(make_verdict(number))
        connection = sink._session.connection
        assert connection is not None
        await until(lambda: connection.send_room == 0)
        broker.kill()
        broker.start()
        assert await sink.flush(20)
    assert broker.log().count("'p/s/cam1/verdict'") >= 100


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_sink_state_is_retained_and_published_anew_on_a_broker_that_forgot(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    broker = mosquitto(is_persistent=False)
    async with MqttVerdictSink(line_config(broker, tmp_path, protocol=protocol), RunningClock(), notebook) as sink:
        await sink.state("agent/agent1/state", {"state": "ready", "mode": "auto"})
        first = await read_state(broker, "ready")
        broker.restart()
        again = await read_state(broker, "ready")
    assert first == again
    assert {"schema", "state", "mode", "session"} == set(first)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_sink_dying_leaves_offline_and_so_does_leaving(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    broker = mosquitto()
    config = line_config(broker, tmp_path, protocol=protocol, reconnect_min_s=30, reconnect_max_s=30)
    async with MqttVerdictSink(config, RunningClock(), notebook) as sink:
        session = (await read_state(broker, "online"))["session"]
        assert sink._session.connection is not None
        sink._session.connection.abort()
        assert (await read_state(broker, "offline"))["session"] == session
    async with MqttVerdictSink(config, RunningClock(), notebook):
        second = (await read_state(broker, "online"))["session"]
    assert (await read_state(broker, "offline"))["session"] == second != session


async def test_sink_with_more_states_than_the_broker_takes_at_once_publishes_all(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto("max_inflight_messages 3")
    async with MqttVerdictSink(line_config(broker, tmp_path), RunningClock(), notebook) as sink:
        for number in range(40):
            await sink.state(f"camera{number}/health", {"ok": True})
        lines = await listen(broker, "p/s/+/health", 40)
        got = await lines
    assert len(got) == 40
