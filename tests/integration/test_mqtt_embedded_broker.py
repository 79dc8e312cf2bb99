"""The demo's broker: mosquitto where it is installed, else amqtt; both take a frame from end to end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.mqtt import broker as broker_module
from connectors.mqtt.broker import EmbeddedBroker, mosquitto_binary
from connectors.mqtt.publisher import MqttPublisher
from connectors.mqtt.source import MqttSource
from inspector.config.config import Config
from inspector.config.loading import parse
from inspector.errors import InspectorError
from inspector.testing.source_contract import Reader
from tests.brokers import Notebook, RunningClock, until


def config_for(broker: EmbeddedBroker, tmp_path: Path) -> Config:
    return parse(
        {
            "agent": {"name": "agent1", "prefix": "p", "state_dir": str(tmp_path)},
            "mqtt": {"host": broker.host, "port": broker.port, "protocol": broker.protocol},
            "camera": [{"name": "cam1", "on_unjudged": "reject", "trigger_from": "topic"}],
        },
        None,
    )


@pytest.fixture(params=["mosquitto", "amqtt"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "mosquitto" and mosquitto_binary() is None:
        pytest.skip("mosquitto is not installed")
    if request.param == "amqtt":
        pytest.importorskip("amqtt.broker")
        monkeypatch.setattr(broker_module, "mosquitto_binary", lambda: None)
    return str(request.param)


async def test_embedded_broker_carries_frames_to_a_source(kind: str, tmp_path: Path, notebook: Notebook) -> None:
    async with EmbeddedBroker(tmp_path) as broker:
        assert broker.name.startswith(f"{kind} ")
        config = config_for(broker, tmp_path)
        async with (
            MqttSource(config, config.camera[0], RunningClock(), notebook) as source,
            MqttPublisher(config.mqtt, "camera") as publisher,
        ):
            reader = Reader(source)
            for number in range(50):
                await publisher.publish(f"p/cam1/frame/{number}", b"x" * 50_000, {"part-id": "p"})
            got = await reader.take(50)
            assert [each.properties["trigger-id"] for each in got] == [str(number) for number in range(50)]
            await source.acknowledge(got[-1].position)


async def test_embedded_broker_taken_port_is_named(kind: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InspectorError, match=f"Port {port} .* choose another"):
            await EmbeddedBroker(tmp_path, port).__aenter__()


async def test_embedded_mosquitto_that_cant_start_says_why(kind: str, tmp_path: Path) -> None:
    if kind != "mosquitto":
        return
    broker = EmbeddedBroker(tmp_path)
    broker._running._binary = "/bin/false"  # type: ignore[union-attr]
    with pytest.raises(InspectorError, match="did not start"):
        await broker.__aenter__()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems don't tell a child that its parent died")
async def test_embedded_mosquitto_ends_when_its_parent_is_killed(kind: str, tmp_path: Path) -> None:
    if kind != "mosquitto":
        return
    script = (
        "import asyncio, pathlib, sys\n"
        "from connectors.mqtt.broker import EmbeddedBroker\n"
        "async def main():\n"
        "    async with EmbeddedBroker(pathlib.Path(sys.argv[1])) as broker:\n"
        "        print(broker.port, flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "."}
    )
    assert parent.stdout is not None
    port = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait(timeout=10)
    parent.stdout.close()

    def is_gone() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0

    await until(is_gone)
