"""Commands over a real mosquitto, sent by a client that is not ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.mqtt.command_channel import MqttCommandChannel
from inspector.domain import CommandName, CommandRequest
from tests.brokers import Mosquitto, Notebook, RunningClock, line_config, until

PROTOCOLS = ["3.1.1", "5"]


async def next_of(channel: MqttCommandChannel) -> CommandRequest:
    async with asyncio.timeout(15):
        async for request in channel.requests():
            return request
    raise AssertionError("the channel was closed")


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_command_channel_takes_what_is_asked_and_answers_beside_it(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    broker = mosquitto()
    sub = broker.receive("-t", "p/s/cmd/+/reply", "-q", "1", "-C", "1", "-W", "20", "-F", "%t %q %r %p")
    await until(lambda: "Received SUBSCRIBE" in broker.log())
    async with MqttCommandChannel(
        line_config(broker, tmp_path, protocol=protocol), RunningClock(), notebook
    ) as channel:
        await asyncio.to_thread(broker.publish, "-t", "p/s/cmd/mode", "-q", "1", "-m", '{"v":1}')
        request = await next_of(channel)
        assert (request.name, request.payload, request.is_retained) == (CommandName.MODE, b'{"v":1}', False)
        await channel.reply(CommandName.MODE, {"v": 1, "ok": 0})
        output, _ = await asyncio.to_thread(sub.communicate, timeout=20)
    topic, qos, retained, payload = output.decode().split(" ", 3)
    assert (topic, qos, retained) == ("p/s/cmd/mode/reply", "1", "0")
    assert json.loads(payload) == {"v": 1, "ok": 0}


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_command_channel_knows_a_retained_command(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    broker = mosquitto()
    await asyncio.to_thread(broker.publish, "-t", "p/s/cmd/resync", "-q", "1", "-r", "-m", "{}")
    async with MqttCommandChannel(
        line_config(broker, tmp_path, protocol=protocol), RunningClock(), notebook
    ) as channel:
        assert (await next_of(channel)).is_retained


async def test_command_channel_that_may_not_listen_costs_the_commands_only(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    # Its files of access lists let everybody subscribe; its plugin does not.
    rules = tmp_path / "rules.json"
    access = {"publishClientSend": True, "publishClientReceive": True, "subscribe": False, "unsubscribe": True}
    rules.write_text(json.dumps({"defaultACLAccess": access, "clients": [], "groups": [], "roles": []}))
    plugin = next(Path("/usr/lib").rglob("mosquitto_dynamic_security.so"))
    broker = mosquitto(f"plugin {plugin}", f"plugin_opt_config_file {rules}")
    async with MqttCommandChannel(line_config(broker, tmp_path), RunningClock(), notebook) as channel:
        assert notebook.kinds == ["commands_refused"]
        await channel.reply(CommandName.JOB, {"v": 1})
