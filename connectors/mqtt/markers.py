"""Markers that the agent sends through a gated camera's own session, so that the age of each frame has a bound.

A marker comes back in its place among the frames (`stream/age`). Where the broker refuses markers, nothing is known
of any frame's age: the gate is not ready, and an alarm names the topic that the agent must be allowed to use.
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
"""Connections lost while their first marker was under way, one after the other, before markers pause.

mosquitto 2.0.11 acknowledges what it refuses to a 3.1.1 client and then hangs up.
"""

REFUSED_PAUSE_S: Final = 30.0
"""Before a broker that refused markers is asked again on the same connection."""

Refused = Callable[[str], None]


def marker_topic(config: Config, camera: str) -> str:
    """Where this agent's markers of a camera go and come from."""
    return f"{config.agent.prefix}/{camera}/marker/{config.agent.name}-{camera}"


class Markers:
    """The markers of one camera's session. `refused` is called with the reason where the broker takes none."""

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
        """When a frame that comes now can have reached the broker at the earliest; None: it is not known."""
        return self._bound.not_before_ns

    def age_ns(self) -> int | None:
        """The age that a frame could have which comes now; None: it has no bound."""
        return self._bound.proof_age_ns(self._clock.monotonic_ns())

    def begin(self, opened_ns: int, *, is_fresh: bool) -> None:
        """The connection that began to open at `opened_ns` is up; markers of an earlier one count no more."""
        self._nonce = uuid.uuid4().hex
        self._bound.begin(opened_ns, is_fresh=is_fresh)
        self._came_back.set()

    def end(self) -> None:
        """The connection is lost."""
        self._bound.end()

    async def run(self, connection: Connection, filters: list[str]) -> None:
        """Subscribes to `filters` and the markers, then sends a marker whenever one is due, until cancelled."""
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
        """Markers as they fall due, until the connection is lost. Raises BrokerRefused."""
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
        """A message on the marker topic, in its place among the frames. Those of earlier connections do nothing."""
        nonce, _, number = payload.partition(b" ")
        if nonce == self._nonce.encode() and number.isdigit() and len(number) <= 18:
            if self._bound.returned(int(number), self._clock.monotonic_ns()):
                self._losses = 0
            self._came_back.set()
