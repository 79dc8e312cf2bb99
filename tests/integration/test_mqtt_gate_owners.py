"""Which agent owns a gate, against a real mosquitto: seen by a client that is not ours, and decided among agents."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.mqtt.gate_line import MqttGateLine
from connectors.mqtt.gate_owners import MqttGateOwners, decode_notice, ensure_identity
from connectors.mqtt.owner_probe import probe_owners
from inspector.config.config import Config
from inspector.domain import GateState
from tests.brokers import Mosquitto, Notebook, RunningClock, line_config, until
from tests.integration.test_mqtt_gate_line import decide

PROTOCOLS = ["3.1.1", "5"]
OWNER = "p/s/gate/g1/owner"


def config_of(broker: Mosquitto, tmp_path: Path, name: str, protocol: str = "5") -> Config:
    """An agent of this name, with a state folder of its own."""
    config = line_config(broker, tmp_path, protocol=protocol)
    agent = config.agent.model_copy(update={"name": name, "state_dir": tmp_path / name})
    return config.model_copy(update={"agent": agent})


def owners_of(config: Config, notebook: Notebook) -> MqttGateOwners:
    return MqttGateOwners(config, RunningClock(), notebook)


def retained(broker: Mosquitto, topic: str) -> dict[str, object] | None:
    """What a subscriber that comes now is told; None where nothing is retained."""
    command = ["mosquitto_sub", "-h", broker.host, "-p", str(broker.port), "-t", topic, "-C", "1", "-W", "1"]
    output = subprocess.run([*command, "--retained-only"], capture_output=True, timeout=20, check=False).stdout
    return json.loads(output) if output else None


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_gate_owners_retained_notice_names_agent_session_and_epoch(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    broker = mosquitto()
    async with owners_of(config_of(broker, tmp_path, "a", protocol), notebook) as owners:
        owners.want({"g1": GateState("g1", 3)})
        await until(lambda: owners.owns("g1"))
        notice = await asyncio.to_thread(retained, broker, OWNER)
        assert notice is not None
        assert (notice["agent"], notice["session"], notice["ep"], notice["state"]) == ("a", owners.session, 3, "online")
        presence = await asyncio.to_thread(retained, broker, f"{OWNER}/a")
        assert presence == {"v": 1, "agent": "a", "session": owners.session, "state": "online"}
    freed = await asyncio.to_thread(retained, broker, OWNER)
    assert freed is not None
    assert (freed["state"], freed["ep"], freed["session"]) == ("free", 3, owners.session)
    assert await asyncio.to_thread(retained, broker, f"{OWNER}/a") is None


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_gate_owners_second_agent_is_refused_and_takes_over_after_the_first(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    broker = mosquitto()
    first = owners_of(config_of(broker, tmp_path, "a", protocol), notebook)
    async with owners_of(config_of(broker, tmp_path, "b", protocol), notebook) as second:
        async with first:
            first.want({"g1": GateState("g1", 1)})
            await until(lambda: first.owns("g1"))
            second.want({"g1": GateState("g1", 1)})
            await until(lambda: second.rival("g1") is not None)
            rival = second.rival("g1")
            assert rival is not None
            assert (rival.agent, rival.session) == ("a", first.session)
            assert not second.owns("g1")
            assert first.owns("g1")
            await until(lambda: first.contender("g1") is not None)
            contender = first.contender("g1")
            assert contender is not None
            assert (contender.agent, contender.session) == ("b", second.session)
        await until(lambda: second.is_claimed("g1"))
        before = second.predecessor("g1")
        assert before is not None
        assert (before.agent, before.identity, before.epoch) == ("a", first.identity, 1)
        assert not second.owns("g1"), "what the first one told is not taken over yet"
        second.succeed("g1")
        assert second.owns("g1")


async def test_probe_of_the_owner_names_the_agent_that_waits_and_then_who_gave_the_gate_up(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto()
    mine, others = (config_of(broker, tmp_path, name) for name in "ab")
    async with owners_of(mine, notebook) as first:
        first.want({"g1": GateState("g1", 3)})
        await until(lambda: first.owns("g1"))
        (alone,) = await probe_owners(mine)
        assert alone.is_ok
        async with owners_of(others, notebook) as second:
            second.want({"g1": GateState("g1", 3)})
            await until(lambda: second.rival("g1") is not None)
            (both,) = await probe_owners(mine)
            assert not both.is_ok
            assert f"b (session {second.session})" in both.detail
            assert f"a (session {first.session})" in both.detail
    (gone,) = await probe_owners(mine)
    assert gone.is_ok
    assert f"a (session {first.session}), gave it up in epoch 3" in gone.detail


async def test_gate_owners_agents_that_start_together_are_not_both_owners(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto()
    first, second = (owners_of(config_of(broker, tmp_path, name), notebook) for name in "ab")
    async with first, second:
        first.want({"g1": GateState("g1", 1)})
        second.want({"g1": GateState("g1", 1)})
        await until(lambda: first.owns("g1") or second.owns("g1"))
        for _ in range(50):
            await asyncio.sleep(0.02)
            assert not (first.owns("g1") and second.owns("g1"))
        assert first.owns("g1") or second.owns("g1")


async def test_gate_line_sends_no_decision_for_a_gate_that_another_agent_owns(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto()
    config = config_of(broker, tmp_path, "b")
    first = owners_of(config_of(broker, tmp_path, "a"), notebook)
    async with (
        first,
        owners_of(config, notebook) as second,
        MqttGateLine(config, RunningClock(), notebook, second.owns) as line,
    ):
        first.want({"g1": GateState("g1", 1)})
        await until(lambda: first.owns("g1"))
        second.want({"g1": GateState("g1", 1)})
        await until(lambda: second.rival("g1") is not None)
        assert not await line.publish(decide(1))
        first.want({})
        await until(lambda: second.is_claimed("g1"))
        second.succeed("g1")
        assert await line.publish(decide(2))
        second.deny("g1", True)
        assert not await line.publish(decide(3))
    sent = [line for line in broker.log().splitlines() if "Received PUBLISH" in line and "gate/g1/decision" in line]
    assert len(sent) == 1


async def test_gate_owners_keep_the_gate_over_a_restart_of_the_broker(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto()
    async with owners_of(config_of(broker, tmp_path, "a"), notebook) as owners:
        owners.want({"g1": GateState("g1", 1)})
        await until(lambda: owners.owns("g1"))
        broker.kill()
        await until(lambda: not owners.owns("g1"))
        broker.start()
        await until(lambda: owners.owns("g1"))


async def test_gate_owners_agent_that_vanished_is_marked_offline_by_the_broker(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto()
    async with owners_of(config_of(broker, tmp_path, "a"), notebook) as owners:
        owners.want({"g1": GateState("g1", 1)})
        await until(lambda: owners.owns("g1"))
        watcher = broker.receive("-t", f"{OWNER}/a", "-C", "2", "-W", "15")
        await until(
            lambda: "Received SUBSCRIBE from mosq" in broker.log() or "Received SUBSCRIBE from auto" in broker.log()
        )
        # Another client of this id throws the agent's out, as the broker does with a client that died.
        command = ["mosquitto_sub", "-V", "5", "-h", broker.host, "-p", str(broker.port), "-i", "a:gates:g1"]
        thief = await asyncio.create_subprocess_exec(*command, "-t", "nothing", stdout=asyncio.subprocess.DEVNULL)
        output, _ = await asyncio.to_thread(watcher.communicate, timeout=20)
        thief.terminate()
        await thief.wait()
    assert [json.loads(line)["state"] for line in output.splitlines()][:2] == ["online", "offline"]


async def test_gate_owners_broker_that_forbids_the_topic_gives_no_gate(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    file = tmp_path / "access-list"
    file.write_text("topic read p/s/#\ntopic write p/s/gate/+/decision\n")
    file.chmod(0o644)
    broker = mosquitto(f"acl_file {file}")
    async with owners_of(config_of(broker, tmp_path, "a"), notebook) as owners:
        owners.want({"g1": GateState("g1", 1)})
        await until(lambda: owners.is_unanswered("g1"))
        assert not owners.owns("g1")


def test_identity_is_kept_in_the_state_folder(tmp_path: Path) -> None:
    first = ensure_identity(tmp_path / "one")
    assert ensure_identity(tmp_path / "one") == first
    assert ensure_identity(tmp_path / "two") != first


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"null",
        b'"online"',
        b"{}",
        b'{"agent":1,"identity":"i","session":"s","term":1,"ep":1,"n":1,"state":"online"}',
        b'{"agent":"a","identity":"i","session":"s","term":-1,"ep":1,"n":1,"state":"online"}',
        b'{"agent":"a","identity":"i","session":"s","term":true,"ep":1,"n":1,"state":"online"}',
        b'{"agent":"a","identity":"i","session":"s","term":1,"ep":1,"n":1,"state":"elsewhere"}',
        b'{"agent":"a","identity":"i","session":"s","term":1,"ep":1,"n":1,"state":["online"]}',
        b"\xff\xfe",
    ],
)
def test_notice_of_another_form_is_none(payload: bytes) -> None:
    assert decode_notice(payload) is None
