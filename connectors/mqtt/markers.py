"""Markers that the agent sends through a gated camera's own session, so that the age of each frame has a bound.

A marker returns in order with the frames (`stream/age`). If the broker refuses markers, no frame's age is known: the
gate is not ready, and an alarm names the topic that the agent must be allowed to use.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Final

from connectors.mqtt.wire.connection import Connection
from inspector.config.config import Config
from inspector.errors import BrokerRefused, BrokerUnavailable
from inspector.ports import Clock
from inspector.stream.age import AgeBound

MARKER_LOSSES: Final = 2
"""Connections in a row that may be lost while their first marker is under way, before markers pause.

mosquitto 2.0.11 acknowledges a message that it refuses to a 3.1.1 client, and then hangs up.
"""

REFUSED_PAUSE_S: Final = 30.0
"""Seconds before the next marker on a connection whose broker has refused one."""

Refused = Callable[[str], None]


def marker_topic(config: Config, camera: str) -> str:
    """The topic on which this agent sends and receives the markers of a camera."""
    return f"{config.agent.prefix}/{camera}/marker/{config.agent.name}-{camera}"


class Markers:
    """The markers of one camera's session. `refused` is called with the reason if the broker takes no markers."""

    def __init__(self, topic: str, period_ms: float, clock: Clock, refused: Refused) -> None:
        self.topic = topic
        self._clock = clock
        self._refused = refused
        self._bound = AgeBound(int(period_ms * 1e6))
        self._nonce = ""
        self._losses = 0
        self._came_back = asyncio.Event()

    @property
    def not_before_ns(self) -> int | None:
        """The earliest time at which a frame that arrives now can have reached the broker; None if it is not known."""
        return self._bound.not_before_ns

    def age_ns(self) -> int | None:
        """The greatest age of a frame that arrives now; None if there is no bound."""
        return self._bound.proof_age_ns(self._clock.monotonic_ns())

    def begin(self, opened_ns: int, *, is_fresh: bool) -> None:
        """Begin with a connection that is up and began to open at `opened_ns`. Earlier markers no longer count."""
        self._nonce = uuid.uuid4().hex
        self._bound.begin(opened_ns, is_fresh=is_fresh)
        self._came_back.set()

    def end(self) -> None:
        """End with the loss of the connection."""
        self._bound.end()

    async def run(self, connection: Connection, filters: list[str]) -> None:
        """Subscribe to `filters` and the markers, then send a marker whenever one is due, until cancelled."""
        is_told = False
        while connection.is_open:
            try:
                await connection.subscribe([*filters, self.topic])
                await self._send_on(connection)
            except BrokerRefused as error:
                if not is_told:
                    self._refused(str(error))
                is_told = True
                await self._clock.sleep(REFUSED_PAUSE_S)
            except BrokerUnavailable:
                connection.abort("it does not answer a subscription")

    async def _send_on(self, connection: Connection) -> None:
        """Send each marker when it is due, until the connection is lost. Raises BrokerRefused."""
        while connection.is_open:
            due_ns = self._bound.due_ns()
            if due_ns is None:
                self._came_back.clear()
                await self._came_back.wait()
                continue
            wait_ns = due_ns - self._clock.monotonic_ns()
            if wait_ns > 0:
                await self._clock.sleep(wait_ns / 1e9)
            else:
                await self._send(connection)

    async def _send(self, connection: Connection) -> None:
        if self._losses >= MARKER_LOSSES:
            self._losses = MARKER_LOSSES - 1  # tried once more after a pause
            raise BrokerRefused(f"The broker hangs up on messages to {self.topic}.")
        self._losses += 1
        number = self._bound.send(self._clock.monotonic_ns())
        is_taken = await connection.publish(self.topic, f"{self._nonce} {number}".encode())
        if not is_taken and connection.is_open:
            self._bound.begin(connection.opening_ns, is_fresh=False)
            raise BrokerRefused(f"The broker does not take messages to {self.topic}.")

    def received(self, payload: bytes) -> None:
        """Take a message from the marker topic, in order with the frames. Older connections' markers are ignored."""
        nonce, _, number = payload.partition(b" ")
        if nonce == self._nonce.encode() and number.isdigit() and len(number) <= 18:
            if self._bound.returned(int(number), self._clock.monotonic_ns()):
                self._losses = 0
            self._came_back.set()
