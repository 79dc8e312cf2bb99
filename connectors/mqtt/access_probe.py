"""Tries for `inspector doctor` what a stranger, and the agent's own user, may do at the broker beyond the agent's work.

Everything is published on topics that nobody has: a camera, a gate and a command under a name that was made up for this
trial. Nothing is retained, and no topic of a camera, gate or command that exists is touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from dataclasses import dataclass
from typing import Final

from connectors.mqtt.wire.client import Message, Role
from connectors.mqtt.wire.connection import Connection
from connectors.mqtt.wire.session import Peer
from inspector.config.broker_sections import MqttSection
from inspector.config.config import Config
from inspector.config.loading import secret
from inspector.errors import BrokerRefused, BrokerUnavailable, ConfigError

ANSWER_S: Final = 5.0
QUIET_S: Final = 1.0
"""Longest wait for a message to come round once the broker has answered its sender."""

FRAME, DECISION, COMMAND = "frames of a camera", "decisions of a gate", "commands"


@dataclass(frozen=True, slots=True)
class Rights:
    """What a client was allowed to do.

    `published`: what it could publish. `tried`: the topics on which it was tried. `reads`: whether it was given a
    message of the agent's own topic, which tells of the agent's own user nothing.
    """

    is_let_in: bool
    published: tuple[str, ...] = ()
    tried: tuple[str, ...] = ()
    reads: bool = False


@dataclass(frozen=True, slots=True)
class _User:
    """The settings and the password of a client, and the part of the client id that says whose trial it is."""

    settings: MqttSection
    password: str | None
    name: str


async def probe_access(config: Config) -> tuple[Rights, Rights] | None:
    """The rights of a client without user, password and certificate, and those of the agent's own user.

    Both are the same if the agent itself has no user. None if the agent's user doesn't get in, which `probe` finds.
    """
    mqtt = config.mqtt
    bare = mqtt.model_copy(update={"username": None, "cert_file": None, "key_file": None})
    try:
        password = secret(mqtt.password_secret).get_secret_value() if mqtt.password_secret else None
        watcher = _Watcher(config, _User(mqtt, password, "access"))
        async with watcher:
            own = await watcher.rights_of(_User(mqtt, password, "own"))
            if bare == mqtt:
                return own, own
            return await watcher.rights_of(_User(bare, None, "stranger"), may_read=True), own
    except (BrokerUnavailable, BrokerRefused, ConfigError):
        return None


class _Watcher(Peer):
    """The agent's own user, which sees what has come through as far as it may read it."""

    def __init__(self, config: Config, user: _User) -> None:
        self._user = user
        self._agent = config.agent.name
        prefix, self._name = config.agent.prefix, f"doctor-{uuid.uuid4().hex[:12]}"
        self._topics = {
            FRAME: f"{prefix}/{self._name}/frame",
            DECISION: f"{prefix}/gate/{self._name}/decision",
            COMMAND: f"{prefix}/cmd/{self._name}",
        }
        self._own_topic = f"{prefix}/agent/{self._agent}/doctor"
        self._came: set[bytes] = set()
        self._news = asyncio.Event()

    async def __aenter__(self) -> None:
        self._connection = await self._open(self._user, self)
        for topic in self._topics.values():
            with contextlib.suppress(BrokerRefused):
                await self._connection.subscribe([topic])

    async def __aexit__(self, *exc: object) -> None:
        await self._connection.close()

    async def rights_of(self, user: _User, *, may_read: bool = False) -> Rights:
        """What this user is let do. Not to be let in is a finding, not an error."""
        try:
            await (await self._open(user, Peer())).close()
        except (BrokerRefused, BrokerUnavailable):
            return Rights(is_let_in=False)
        published = [what for what, topic in self._topics.items() if await self._publishes(user, topic)]
        reads = may_read and await self._reads(user)
        return Rights(True, tuple(published), tuple(self._topics.values()), reads)

    async def _publishes(self, user: _User, topic: str) -> bool:
        """Whether the broker takes a message there. Tried on a new connection: brokers hang up on what they refuse."""
        sent = uuid.uuid4().hex.encode()
        connection = await self._open(user, Peer())
        try:
            answer = connection.publish(topic, sent)
            await asyncio.wait([answer], timeout=ANSWER_S)
            if answer.done() and not answer.result():
                return False
            if connection.protocol == "5" and answer.done():
                return True
            # MQTT 3.1.1 has no word for a refusal: only a message that came through says something.
            return await self._has_come(sent)
        finally:
            await connection.close()

    async def _reads(self, user: _User) -> bool:
        """Whether this user is given a message on the agent's own topic. A yes to the subscription says nothing."""
        sent = uuid.uuid4().hex.encode()
        reader = await self._open(user, self)
        try:
            await reader.subscribe([self._own_topic])
            self._connection.publish(self._own_topic, sent)
            return await self._has_come(sent)
        except (BrokerRefused, BrokerUnavailable):
            return False
        finally:
            await reader.close()

    async def _has_come(self, sent: bytes) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(QUIET_S):
                while sent not in self._came:
                    self._news.clear()
                    await self._news.wait()
        return sent in self._came

    async def _open(self, user: _User, peer: Peer) -> Connection:
        connection = Connection(user.settings, Role(f"{self._agent}:doctor:{user.name}"), user.password, peer)
        await connection.open()
        return connection

    def received(self, connection: Connection, message: Message) -> None:
        if message.packet_id:
            connection.acknowledge(message.packet_id)
        self._came.add(message.payload)
        self._news.set()
