"""Keeps one MQTT client connected: connection after connection, with a jittered, growing pause between.

The loss of the broker is logged once and its return once; retries are silent. A broker that refuses the client is
tried again after long pauses, since a person may remove the cause. A refusal is an error only while the session is
entered. The broker would send a packet that paho can't read again and again. After two such packets the next
connection therefore speaks MQTT 3.1.1, where a PUBLISH has no properties. Another client of the same name would take
the connection again and again. After each such loss the session therefore waits longer. From time to time it
calls the peer's `name_taken`.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any, Final, Self

import structlog

from connectors.mqtt.wire.client import Message, Role
from connectors.mqtt.wire.connection import Connection
from connectors.mqtt.wire.edges import edges_of
from connectors.mqtt.wire.refusal import HungUp, NameTaken, UnreadablePacket, name_taken
from inspector.config.broker_sections import MqttSection
from inspector.config.loading import secret
from inspector.errors import BrokerRefused, BrokerUnavailable, InspectorError

REFUSED_PAUSE_FACTOR: Final = 6
"""The pause after a refusal, as a multiple of `reconnect_max_s`."""

HUNG_UP_LIMIT: Final = 3
"""This many connections in a row, each closed by the other side soon after it was up, mean a client of this name."""

SOON_S: Final = 1.0
"""A connection counts as taken over if it lived at most `reconnect_max_s`, the other client's longest pause, plus this.
"""

LONGEST_GIVING_WAY_S: Final = 600.0
LONGEST_GUESSED_GIVING_WAY_S: Final = 60.0
"""Used if the broker gave no reason. A bad network that soon loses each connection looks the same, so wait less."""

UNREADABLE_LIMIT: Final = 2
"""This many connections in a row are lost to an unreadable packet before one over MQTT 3.1.1 is tried."""

_log = structlog.get_logger("inspector.mqtt")


class Peer:
    """The user of a session; each method does nothing unless overridden. Only `prepare` may raise.

    The connection calls `connected` and `received`; the session calls the other methods.
    """

    def connected(self, connection: Connection, session_present: bool, /) -> None:
        """The broker has accepted the connection. This call comes before any message of the connection."""

    def received(self, connection: Connection, message: Message, /) -> None:
        """A message has come. The peer has to acknowledge it."""

    async def prepare(self, connection: Connection, /) -> None:
        """Called before the link counts as up, for example to subscribe. Raises BrokerUnavailable or BrokerRefused."""

    async def serve(self, connection: Connection, /) -> None:
        """Runs while the link is up and is cancelled when it is lost. It may return early."""

    def disconnected(self) -> None:
        """The link is gone, or the session has ended."""

    def name_taken(self, sentence: str, /) -> None:
        """Another client uses this client's id. Called from time to time, for one client of this process."""


class Session:
    """A client that is kept connected. Entered means connected, or still trying after a first try.

    With `is_broker_required`, entering raises BrokerUnavailable if the first try fails. Leaving says goodbye.
    """

    def __init__(self, settings: MqttSection, role: Role, peer: Peer, *, is_broker_required: bool = False) -> None:
        self._settings = settings
        self._role = role
        self._peer = peer
        self._is_broker_required = is_broker_required
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        self._first_error: InspectorError | None = None
        self._edges = edges_of(settings.host, settings.port)
        self._is_leaving = False
        self.failure: BaseException | None = None

    async def __aenter__(self) -> Self:
        password = secret(self._settings.password_secret) if self._settings.password_secret else None
        self._task = asyncio.create_task(
            self._run(password.get_secret_value() if password else None), name=f"mqtt {self._role.client_id}"
        )
        self._task.add_done_callback(self._note_end)
        try:
            await self._tried.wait()
        except asyncio.CancelledError:
            await self._stop()
            raise
        error = self._first_error or self.failure
        if error is not None and (self._is_broker_required or not isinstance(error, BrokerUnavailable)):
            await self._stop()
            raise error
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._is_leaving = True
        if self._connection is not None:
            await self._connection.close()
        await self._stop()
        self._edges.left(self._role.client_id)

    @property
    def connection(self) -> Connection | None:
        """The link while it is up, else None."""
        return self._connection if self._connection is not None and self._connection.is_open else None

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self, password: str | None) -> None:
        pause = Pause(self._settings)
        takeovers = Takeovers(self._settings)
        unreadable = 0
        while True:
            settings = self._settings
            if unreadable >= UNREADABLE_LIMIT:
                settings = settings.model_copy(update={"protocol": "3.1.1"})
            connection = Connection(settings, self._role, password, self._peer)
            started_s = asyncio.get_running_loop().time()
            try:
                error = await self._live(connection)
            finally:
                self._connection = None
                connection.abort("the session ended")
                self._peer.disconnected()
            now_s = asyncio.get_running_loop().time()
            lived_s = now_s - started_s
            if takeovers.is_one(error, connection.was_opened, lived_s):
                error = name_taken(connection.address, self._role.client_id, is_certain=isinstance(error, NameTaken))
                if not self._is_leaving and self._edges.is_theft_news(now_s):
                    self._peer.name_taken(str(error))
            self._note_down(error)
            unreadable = unreadable + 1 if isinstance(error, UnreadablePacket) else 0
            await asyncio.sleep(pause.after(error, lived_s))

    async def _live(self, connection: Connection) -> InspectorError:
        """Run one connection from its opening to its loss. Returns the reason of the loss."""
        try:
            await connection.open()
        except (BrokerUnavailable, BrokerRefused) as error:
            return error
        try:
            await self._peer.prepare(connection)
        except (BrokerUnavailable, BrokerRefused) as error:
            return connection.lost.result() if connection.lost.done() else error
        self._note_up(connection)
        serving = asyncio.create_task(self._peer.serve(connection), name=f"mqtt {self._role.client_id} serving")
        try:
            either: list[asyncio.Future[Any]] = [serving, connection.lost]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
            return await asyncio.shield(connection.lost)
        finally:
            serving.cancel()
            await asyncio.wait([serving])

    def _note_up(self, connection: Connection) -> None:
        self._connection = connection
        self._tried.set()
        self._edges.up(self._role.client_id)

    def _note_down(self, error: InspectorError) -> None:
        if not self._tried.is_set():
            self._first_error = error
            self._tried.set()
        if not self._is_leaving:
            self._edges.down(self._role.client_id, str(error))

    def _note_end(self, task: asyncio.Task[None]) -> None:
        """Keep and log the error that ended the task. A fault in this software must not look like a line at rest."""
        if not task.cancelled() and task.exception() is not None:
            self.failure = task.exception()
            if self._tried.is_set():  # else the caller that enters the session gets the error
                _log.error("mqtt_session_failed", client=self._role.client_id, exc_info=self.failure)
        self._tried.set()
        self._peer.disconnected()


class Takeovers:
    """Distinguishes losses to another client of the same name from losses for other reasons. Pure.

    A broker of MQTT 5 may name the reason. Most brokers just close the older connection; its owner connects again,
    which closes the newer one. The sign is then a connection that comes up each time and never lives long.
    """

    def __init__(self, settings: MqttSection) -> None:
        self._soon_s = max(settings.reconnect_max_s, settings.reconnect_min_s) + SOON_S
        self._hung_up = 0

    def is_one(self, error: InspectorError, was_opened: bool, lived_s: float) -> bool:
        """Whether another client took over the connection that ended with `error`. Call it once for each, in order."""
        if isinstance(error, NameTaken):
            return True
        if not was_opened or lived_s > self._soon_s or not isinstance(error, HungUp):
            self._hung_up = 0  # a broker that is away, or a connection that was left alone for a while
            return False
        self._hung_up += 1
        return self._hung_up >= HUNG_UP_LIMIT


class Pause:
    """The pause before the next connection, in seconds. It doubles with each failure, with jitter, within bounds."""

    def __init__(self, settings: MqttSection, jitter: random.Random | None = None) -> None:
        self._min_s = settings.reconnect_min_s
        self._max_s = max(settings.reconnect_max_s, settings.reconnect_min_s)
        self._jitter = jitter or random.Random()
        self._next_s = self._min_s
        self._giving_way_s = self._max_s

    def after(self, error: InspectorError, lived_s: float) -> float:
        """The pause after a connection that ended with `error` and lived for `lived_s`."""
        if isinstance(error, BrokerRefused):
            return self._jitter.uniform(0.5, 1.0) * self._max_s * REFUSED_PAUSE_FACTOR
        if isinstance(error, NameTaken):
            longest_s = max(LONGEST_GIVING_WAY_S if error.is_certain else LONGEST_GUESSED_GIVING_WAY_S, self._max_s)
            if lived_s > longest_s:
                self._giving_way_s = self._max_s
            pause_s = self._jitter.uniform(0.5, 1.0) * min(self._giving_way_s, longest_s)
            self._giving_way_s = min(2 * self._giving_way_s, longest_s)
            return pause_s
        self._giving_way_s = self._max_s
        if lived_s > self._max_s:
            self._next_s = self._min_s
        pause_s = self._jitter.uniform(0.5, 1.0) * self._next_s
        self._next_s = min(2 * self._next_s, self._max_s)
        return pause_s
