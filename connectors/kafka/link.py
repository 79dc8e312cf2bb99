"""Whether the cluster answers: one event when it stops, one when it answers again, however often it was tried."""

from __future__ import annotations

import asyncio

from aiokafka.conn import AIOKafkaConnection

from connectors.kafka.client import Pause, ask, reach
from inspector.config import KafkaSection
from inspector.domain import Event, Severity
from inspector.errors import BrokerRefused, BrokerUnavailable, InspectorError
from inspector.ports import Clock, Telemetry

WATCH_S = 1.0
ANSWER_MS = 3000


class Link:
    """The edges of one client's link to the cluster. aiokafka reconnects by itself and tells nobody."""

    def __init__(self, settings: KafkaSection, clock: Clock, telemetry: Telemetry, subject: str) -> None:
        self._settings = settings
        self._clock = clock
        self._telemetry = telemetry
        self._subject = subject
        self._is_reached = False
        self._is_up = False
        self._told: bool | None = None

    @property
    def is_up(self) -> bool:
        return self._is_up and self._is_reached

    def note_reached(self) -> None:
        """A connection was let in."""
        self._is_reached = True

    def note_up(self, detail: str) -> None:
        """The client works."""
        self._is_up = self._is_reached = True
        self._tell(True, detail)

    def note_down(self, error: InspectorError) -> None:
        """The client does not work, for this reason."""
        self._is_up = False
        self._tell(False, str(error))

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
                        self._tell(False, str(error))
                        await pause.after(error)
                    connection = None
                    continue
                pause.reset()
                self._is_reached = True
                if self._is_up:
                    self._tell(True, "the cluster answers again")
                await asyncio.sleep(WATCH_S)
        finally:
            if connection is not None:
                connection.close()

    def _tell(self, is_up: bool, detail: str) -> None:
        if is_up == self._told:
            return
        self._told = is_up
        kind, severity = ("kafka_link_up", Severity.INFO) if is_up else ("kafka_link_down", Severity.WARNING)
        self._telemetry.event(Event(self._clock.now(), kind, severity, self._subject, detail))
