"""Commands over a real mosquitto, sent by a client that is not ours."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.mqtt.command_channel import REQUESTS_KEPT, MqttCommandChannel
from inspector.config.trust_sections import CommandsSection
from inspector.domain import CommandName, CommandRequest
from inspector.errors import CommandRefused
from inspector.stream.command_rights import CommandKey, CommandRights
from inspector.stream.commands import read
from tests.brokers import Mosquitto, Notebook, RunningClock, line_config, until

PROTOCOLS = ["3.1.1", "5"]


async def next_of(channel: MqttCommandChannel) -> CommandRequest:
    async with asyncio.timeout(15):
        async for request in channel.requests(lambda _: True):
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


async def test_example_of_the_document_signs_a_command_that_is_taken(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    """With openssl and mosquitto_pub, as anybody would send it."""
    document = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")
    script = document.split("<!-- signed example: a test runs it -->\n```sh\n")[1].split("```")[0]
    broker = mosquitto()
    secret = secrets.token_hex(32)
    config = line_config(broker, tmp_path)
    config = config.model_copy(update={"agent": config.agent.model_copy(update={"prefix": "plant/site/area/line"})})
    environment = os.environ | {"COMMAND_LEADS": secret}
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "mosquitto_pub").write_text(f"-h {broker.host}\n-p {broker.port}\n")  # its defaults
    async with MqttCommandChannel(config, RunningClock(), notebook) as channel:
        shell = ["sh", "-eu", "-c", script]
        settings = environment | {"XDG_CONFIG_HOME": str(folder)}
        await asyncio.to_thread(subprocess.run, shell, env=settings, check=True, timeout=30)
        request = await next_of(channel)
    command = read(request)
    assert (command.by, command.key) == ("ada", "leads")
    keys = [CommandKey("leads", secret.encode(), by=("ada",), allow=("release",))]
    CommandRights("plant/site/area/line", keys=keys).ensure(command, request)
    others = [CommandKey("leads", b"another key, 16 characters")]
    with pytest.raises(CommandRefused):
        CommandRights("plant/site/area/line", keys=others).ensure(command, request)


async def test_command_channel_listens_only_for_what_is_allowed(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto()
    config = line_config(broker, tmp_path)
    config = config.model_copy(update={"commands": CommandsSection(allow=("job", "mode:g1"))})
    async with MqttCommandChannel(config, RunningClock(), notebook) as channel:
        for name in ("resync", "release", "golden", "mode"):
            await asyncio.to_thread(broker.publish, "-t", f"p/s/cmd/{name}", "-q", "1", "-m", "{}")
        assert (await next_of(channel)).name is CommandName.MODE
    assert notebook.kinds == []


async def test_flood_of_refused_commands_never_drops_a_genuine_one(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    """Twice as many as are kept, which come while nobody has time to obey one."""
    broker = mosquitto()
    refused: list[bytes] = []

    def takes(request: CommandRequest) -> bool:
        if request.payload == b"forged":
            refused.append(request.payload)
        return request.payload != b"forged"

    async with MqttCommandChannel(line_config(broker, tmp_path), RunningClock(), notebook) as channel:
        requests = channel.requests(takes)
        await asyncio.to_thread(broker.publish, "-t", "p/s/cmd/mode", "-q", "1", "-m", "first")
        assert (await anext(requests)).payload == b"first"
        lines = ("forged\n" * (2 * REQUESTS_KEPT)).encode()
        await asyncio.to_thread(feed, broker, lines)
        await asyncio.to_thread(broker.publish, "-t", "p/s/cmd/mode", "-q", "1", "-m", "genuine")
        async with asyncio.timeout(15):
            assert (await anext(requests)).payload == b"genuine"
    assert len(refused) == 2 * REQUESTS_KEPT
    assert "commands_lost" not in notebook.kinds


async def test_flood_of_refused_commands_while_the_agent_starts_never_drops_a_genuine_one(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    """Nobody reads commands before the journal is recovered and the engine is warm; each is asked about once."""
    broker = mosquitto()
    asked: list[bytes] = []

    def takes(request: CommandRequest) -> bool:
        asked.append(request.payload)
        return request.payload != b"forged"

    async with MqttCommandChannel(line_config(broker, tmp_path), RunningClock(), notebook) as channel:
        channel.sift(takes)
        await asyncio.to_thread(feed, broker, ("forged\n" * (REQUESTS_KEPT + 10)).encode())
        await asyncio.to_thread(broker.publish, "-t", "p/s/cmd/mode", "-q", "1", "-m", "genuine")
        async with asyncio.timeout(15):
            assert (await anext(channel.requests(takes))).payload == b"genuine"
    assert asked.count(b"genuine") == 1
    assert "commands_lost" not in notebook.kinds


def feed(broker: Mosquitto, lines: bytes) -> None:
    """Each line as one command."""
    sender = ["mosquitto_pub", "-h", broker.host, "-p", str(broker.port), "-t", "p/s/cmd/mode", "-q", "1", "-l"]
    subprocess.run(sender, input=lines, check=True, timeout=60)
