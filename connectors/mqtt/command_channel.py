"""Commands over MQTT: jobs and modes come on `{prefix}/cmd/{name}`; the reply goes to `.../reply`.

The channel has its own client with a clean start, so no command waits in the broker for an absent agent. A late
command would be refused. If the broker forbids the subscription, the line runs on without commands.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Self

import orjson

from connectors.mqtt.wire.client import Message, Role
from connectors.mqtt.wire.connection import Connection
from connectors.mqtt.wire.session import Peer, Session
from inspector.config.config import Config
from inspector.domain import CommandName, CommandRequest, Event, Severity
from inspector.errors import BrokerRefused
from inspector.ports import Clock, TakesCommand, Telemetry
from inspector.stream.command_rights import topics_of

REQUESTS_KEPT: Final = 1000
"""Most commands kept until they are read. Further commands are dropped, with one event."""

REPLY_S: Final = 5.0


class MqttCommandChannel(Peer):
    """A CommandChannel over MQTT. Entered means connected, or still trying; entering raises BrokerRefused."""

    def __init__(self, config: Config, clock: Clock, telemetry: Telemetry) -> None:
        self._clock = clock
        self._telemetry = telemetry
        self._agent = config.agent.name
        self._session = Session(config.mqtt, Role(f"{config.agent.name}:commands"), peer=self)
        self._prefix = f"{config.agent.prefix}/cmd"
        self._names = topics_of(config.agent.prefix, config.commands.allow)
        self._takes: TakesCommand | None = None
        self._requests: deque[CommandRequest] = deque()
        self._changed = asyncio.Event()
        self._is_closed = False
        self._is_deaf = False
        self._is_overrun = False

    @property
    def is_connected(self) -> bool:
        return self._session.connection is not None

    async def __aenter__(self) -> Self:
        await self._session.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.__aexit__(*exc)
        self._is_closed = True
        self._changed.set()

    def sift(self, takes: TakesCommand) -> None:
        """Ask `takes` of each command from now on, and of those that have come: a start may take minutes."""
        if takes != self._takes:  # it may refuse what it has been asked about before
            self._takes = takes
            self._requests = deque(filter(takes, self._requests))

    async def requests(self, takes: TakesCommand) -> AsyncIterator[CommandRequest]:
        """The requests that `takes` allows, until the channel is closed. One consumer only."""
        self.sift(takes)
        while not self._is_closed:
            if self._session.failure is not None:
                raise self._session.failure
            if self._requests:
                self._is_overrun = False
                yield self._requests.popleft()
            else:
                self._changed.clear()
                await self._changed.wait()

    async def reply(self, name: CommandName, payload: Mapping[str, Any]) -> None:
        """Publish a reply with QoS 1, not retained. It is dropped if the link is down or stays jammed for seconds."""
        connection = self._session.connection
        if connection is None:
            return
        try:
            async with asyncio.timeout(REPLY_S):
                await connection.wait_for_room()
                await asyncio.shield(connection.publish(f"{self._prefix}/{name}/reply", orjson.dumps(payload)))
        except TimeoutError:
            self._telemetry.count("command_replies_lost")

    # --- callbacks of the session ---

    async def prepare(self, connection: Connection) -> None:
        try:
            if self._names:
                await connection.subscribe(list(self._names))
        except BrokerRefused as refusal:
            if not self._is_deaf:
                self._report("commands_refused", f"{refusal} Commands don't reach this agent.")
            self._is_deaf = True
        else:
            self._is_deaf = False

    def name_taken(self, sentence: str) -> None:
        self._telemetry.event(Event(self._clock.now(), "name_taken", Severity.ALARM, self._agent, sentence))

    def disconnected(self) -> None:
        self._changed.set()

    def received(self, connection: Connection, message: Message) -> None:
        if message.packet_id:
            connection.acknowledge(message.packet_id)
        name = self._names.get(message.topic or "")
        if name is None:
            return
        request = CommandRequest(name, message.payload, self._clock.now(), message.is_retained)
        if self._takes is not None and not self._takes(request):
            return
        if len(self._requests) >= REQUESTS_KEPT:
            self._telemetry.count("commands_lost")
            if not self._is_overrun:
                self._is_overrun = True
                self._report("commands_lost", "commands come faster than they can be obeyed")
            return
        self._requests.append(request)
        self._changed.set()

    def _report(self, kind: str, detail: str) -> None:
        self._telemetry.event(Event(self._clock.now(), kind, Severity.WARNING, self._prefix, detail))


def topics(config: Config) -> list[str]:
    """The topics on which an agent with this configuration takes commands."""
    return list(topics_of(config.agent.prefix, config.commands.allow))
