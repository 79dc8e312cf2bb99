"""`inspector doctor` tries what strangers and the agent's own user may do at a real broker, and harms nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.mqtt.access_probe import COMMAND, DECISION, FRAME, probe_access
from inspector.cli.checks import security
from inspector.cli.checks.finding import Finding, Level
from inspector.config.config import Config
from tests.brokers import Mosquitto, free_port, line_config
from tests.plant_broker import PREFIX, PlantBroker

PROTOCOLS = ["3.1.1", "5"]


def look(config: Config) -> dict[str, Finding]:
    async def collect() -> list[Finding]:
        return [finding async for finding in security.check(config, None)]

    return {finding.subject: finding for finding in asyncio.run(collect())}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_broker_that_takes_anybody_is_found_with_what_a_stranger_may_do(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, protocol: str
) -> None:
    broker = mosquitto()
    finding = look(line_config(broker, tmp_path, protocol=protocol))["anonymous clients"]
    assert finding.level is Level.WARNING
    assert f"may publish {FRAME}, {DECISION} and {COMMAND}" in finding.detail
    assert "docs/broker.md" in finding.detail


def test_broker_that_takes_anybody_from_the_network_is_a_fault(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = line_config(mosquitto(), tmp_path)
    monkeypatch.setattr(security, "is_loopback", lambda _: False)
    assert look(config)["anonymous clients"].level is Level.FAULT


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_stranger_who_may_only_read_is_found_too(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, protocol: str
) -> None:
    access = tmp_path / "access"
    access.write_text("topic read #\nuser agent\ntopic readwrite #\n")
    broker = mosquitto(f"acl_file {access}")
    config = line_config(broker, tmp_path, protocol=protocol, username="agent")
    found = look(config)
    assert found["anonymous clients"].level is Level.WARNING
    assert "reads what agents say" in found["anonymous clients"].detail
    assert found["access list"].level is Level.WARNING
    assert f"{FRAME}, {DECISION} and {COMMAND} that are not its own" in found["access list"].detail


def test_own_user_that_may_tell_every_gate_is_found(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    access = tmp_path / "access"
    access.write_text("user agent\ntopic write p/s/gate/+/decision\ntopic readwrite p/s/agent/agent1/doctor\n")
    broker = mosquitto(f"acl_file {access}")
    found = look(line_config(broker, tmp_path, username="agent"))
    assert f"may publish {DECISION} that are not its own" in found["access list"].detail
    assert found["anonymous clients"].level is Level.OK, "let in, and may do nothing"


@pytest.fixture
def guarded(plant_broker: PlantBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The agent of configs/mosquitto/."""
    monkeypatch.setenv("INSPECTOR_SECRET_P", plant_broker.password("line1-agent"))
    config = line_config(
        plant_broker, tmp_path, host="localhost", tls=True, ca_file=str(plant_broker.authority), username="line1-agent",
        password_secret="p",
    )  # fmt: skip
    return config.model_copy(
        update={"agent": config.agent.model_copy(update={"name": "line1-agent", "prefix": PREFIX})}
    )


def test_broker_of_the_example_is_found_right(guarded: Config) -> None:
    found = look(guarded)
    assert {subject: finding.level for subject, finding in found.items()}.get("anonymous clients") is Level.OK
    assert found["anonymous clients"].detail == "are not let in"
    assert found["access list"].level is Level.OK


async def test_probe_touches_no_topic_of_the_line_and_leaves_nothing(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto()
    config = line_config(broker, tmp_path, username="agent")
    assert await probe_access(config) is not None
    published = [line.split("'")[1] for line in broker.log().splitlines() if "Received PUBLISH" in line]
    assert published
    ours = f"p/s/agent/{config.agent.name}/doctor"
    assert [topic for topic in published if "/doctor-" not in topic and topic != ours] == []
    assert "r1" not in "".join(line.split("(")[1] for line in broker.log().splitlines() if "Received PUBLISH" in line)


async def test_probe_without_a_broker_says_nothing(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    assert await probe_access(line_config(mosquitto(), tmp_path, port=free_port())) is None
