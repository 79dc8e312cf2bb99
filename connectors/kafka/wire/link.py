"""Watches whether the cluster answers. One event reports its loss and one its return; retries are silent."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from aiokafka.conn import AIOKafkaConnection

from connectors.kafka.wire.client import Pause, ask, reach
from inspector.config.broker_sections import KafkaSection
from inspector.domain import Event, Severity
from inspector.errors import BrokerRefused, BrokerUnavailable, InspectorError
from inspector.ports import Clock, Telemetry

WATCH_S = 1.0
_EDGES: WeakKeyDictionary[Telemetry, dict[str, Edges]] = WeakKeyDictionary()
ANSWER_MS = 3000


class Edges:
    """The clients of this agent that have lost the cluster. They share one report, so that a person reads it once."""

    def __init__(self, clock: Clock, telemetry: Telemetry, address: str) -> None:
        self._clock = clock
        self._telemetry = telemetry
        self._address = address
        self._lost: set[str] = set()
        self._was_up = False

    def up(self, client: str, detail: str) -> None:
        """Note a client's connection. The first client ever is reported, and later the last client that was missing."""
        was_lost = bool(self._lost)
        self._lost.discard(client)
        if not self._was_up or (was_lost and not self._lost):
            self._tell("kafka_link_up", Severity.INFO, f"{client}: {detail}")
        self._was_up = True

    def down(self, client: str, reason: str) -> None:
        """Note a client's loss. Only the first of several losses is reported."""
        if not self._lost:
            self._tell("kafka_link_down", Severity.WARNING, f"{client}: {reason}")
        self._lost.add(client)

    def _tell(self, kind: str, severity: Severity, detail: str) -> None:
        self._telemetry.event(Event(self._clock.now(), kind, severity, self._address, detail))


def edges_of(settings: KafkaSection, clock: Clock, telemetry: Telemetry) -> Edges:
    """The shared instance for a cluster and an agent."""
    by_address = _EDGES.setdefault(telemetry, {})
    return by_address.setdefault(settings.bootstrap, Edges(clock, telemetry, settings.bootstrap))


class Link:
    """Reports the loss and return of one client's link. aiokafka reconnects by itself and reports neither."""

    def __init__(self, settings: KafkaSection, clock: Clock, telemetry: Telemetry, subject: str) -> None:
        self._settings = settings
        self._edges = edges_of(settings, clock, telemetry)
        self._subject = subject
        self._is_reached = False
        self._is_up = False

    @property
    def is_up(self) -> bool:
        return self._is_up and self._is_reached

    def note_reached(self) -> None:
        """Note that the cluster has accepted a connection."""
        self._is_reached = True

    def note_up(self, detail: str) -> None:
        """Note that the client works."""
        self._is_up = self._is_reached = True
        self._edges.up(self._subject, detail)

    def note_down(self, error: InspectorError) -> None:
        """Note that the client has lost the cluster; `error` gives the reason."""
        self._is_up = False
        self._edges.down(self._subject, str(error))

    async def watch(self) -> None:
        """Ask the cluster every second over a connection of its own. Runs until cancelled."""
        connection: AIOKafkaConnection | None = None
        pause = Pause(self._settings)
        try:
            while True:
                try:
                    if connection is None or not connection.connected():
                        connection = await reach(self._settings, ANSWER_MS)
                    await ask(connection, ())
                except (BrokerUnavailable, BrokerRefused) as error:
                    if connection is not None:
                        connection.close()
                    # One broker of several may be gone; only a cluster that does not answer anywhere is down.
                    if connection is None:
                        self._is_reached = False
                        self._edges.down(self._subject, str(error))
                        await pause.after(error)
                    connection = None
                    continue
                pause.reset()
                self._is_reached = True
                if self._is_up:
                    self._edges.up(self._subject, "the cluster answers again")
                await asyncio.sleep(WATCH_S)
        finally:
            if connection is not None:
                connection.close()
