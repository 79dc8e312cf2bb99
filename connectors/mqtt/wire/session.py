"""Keeps one MQTT client connected: connection after connection, with a jittered, growing pause between.

One log line when the broker goes down and one when it is up again, however often it was tried between.
A broker that refuses us is tried again too, after long pauses, since a person may have put it right;
only while entering is a refusal an error. Packets that paho can't read (a byte order mark in a user
property is enough) would come again for ever, so after two of them the next connection speaks MQTT
3.1.1, where a PUBLISH has nothing but its payload.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any, Final, Self

import structlog

from connectors.mqtt.wire.client import Message, Role
from connectors.mqtt.wire.connection import Connection
from connectors.mqtt.wire.edges import edges_of
from connectors.mqtt.wire.refusal import UnreadablePacket
from inspector.config.loading import secret
from inspector.config.sections import MqttSection
from inspector.errors import BrokerRefused, BrokerUnavailable, InspectorError

REFUSED_PAUSE_FACTOR: Final = 6
"""How much longer than `reconnect_max_s` the pause after a refusal is."""

UNREADABLE_LIMIT: Final = 2
"""So many connections in a row lost to an unreadable packet before one of MQTT 3.1.1 is tried."""

_log = structlog.get_logger("inspector.mqtt")


class Peer:
    """What uses a session; whoever needs more than nothing says so. Nothing here may raise but `prepare`.

    `connected` and `received` come from the connection, the rest from the session.
    """

    def connected(self, connection: Connection, session_present: bool, /) -> None:
        """The broker said yes; comes before any message of this connection."""

    def received(self, connection: Connection, message: Message, /) -> None:
        """A message; acknowledging it is the peer's business."""

    async def prepare(self, connection: Connection, /) -> None:
        """What must be done before the link counts as up. Raises BrokerUnavailable or BrokerRefused."""

    async def serve(self, connection: Connection, /) -> None:
        """Runs beside the link while it is up; cancelled when it is lost. May return early."""

    def disconnected(self) -> None:
        """The link is gone, or the session has ended."""


class Session:
    """Entered means tried once: connected, or going on trying. Left means said goodbye.

    With `is_broker_required` entering raises BrokerUnavailable instead of going on trying.
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
            self._note_down(error)
            unreadable = unreadable + 1 if isinstance(error, UnreadablePacket) else 0
            lived_s = asyncio.get_running_loop().time() - started_s
            await asyncio.sleep(pause.after(error, lived_s))

    async def _live(self, connection: Connection) -> InspectorError:
        """One connection from its opening to its loss, whose reason it returns."""
        try:
            await connection.open()
            await self._peer.prepare(connection)
        except (BrokerUnavailable, BrokerRefused) as error:
            return error
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
        """A session that dies of an error of ours must not look like a quiet line."""
        if not task.cancelled() and task.exception() is not None:
            self.failure = task.exception()
            if self._tried.is_set():  # else who enters the session is told
                _log.error("mqtt_session_failed", client=self._role.client_id, exc_info=self.failure)
        self._tried.set()
        self._peer.disconnected()


class Pause:
    """How long to wait before the next connection, in seconds: doubling, jittered, within the configured bounds."""

    def __init__(self, settings: MqttSection, jitter: random.Random | None = None) -> None:
        self._min_s = settings.reconnect_min_s
        self._max_s = max(settings.reconnect_max_s, settings.reconnect_min_s)
        self._jitter = jitter or random.Random()
        self._next_s = self._min_s

    def after(self, error: InspectorError, lived_s: float) -> float:
        """The pause after a connection that ended with `error` and lived so long."""
        if isinstance(error, BrokerRefused):
            return self._jitter.uniform(0.5, 1.0) * self._max_s * REFUSED_PAUSE_FACTOR
        if lived_s > self._max_s:
            self._next_s = self._min_s
        pause_s = self._jitter.uniform(0.5, 1.0) * self._next_s
        self._next_s = min(2 * self._next_s, self._max_s)
        return pause_s
