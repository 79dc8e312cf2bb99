"""One log line when a broker goes away and one when it is back, however many clients this process has there.

A plant's agent has a client for each camera, one for the gates and one for the records; when the broker
restarts, all of them lose their link within a moment, and a person wants to read that once.
"""

from __future__ import annotations

import functools
from typing import Final

import structlog

_log = structlog.get_logger("inspector.mqtt")


TOLD_EVERY_S: Final = 600.0
"""How often it is told that another client takes this process's connections."""


class BrokerEdges:
    """Which clients of this process have lost the broker at `address`."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._lost: set[str] = set()
        self._was_up = False
        self._told_at_s: float | None = None

    def up(self, client: str) -> None:
        """This client has its link. Logs when it is the first ever, or the last that was missing."""
        was_lost = bool(self._lost)
        self._lost.discard(client)
        if not self._was_up or (was_lost and not self._lost):
            _log.info("mqtt_broker_up", broker=self._address, client=client)
        self._was_up = True

    def down(self, client: str, reason: str) -> None:
        """This client has lost its link. Logs when it is the first one; the others follow it quietly."""
        level = _log.debug if self._lost else _log.warning
        if client not in self._lost:
            level("mqtt_broker_down", broker=self._address, client=client, reason=reason)
        self._lost.add(client)

    def is_theft_news(self, now_s: float) -> bool:
        """Whether a person should be told now that a client of this process lost its name to another one.

        The other clients of this process have the same trouble; one of them speaks, once in a while.
        """
        if self._told_at_s is not None and now_s - self._told_at_s < TOLD_EVERY_S:
            return False
        self._told_at_s = now_s
        return True

    def left(self, client: str) -> None:
        """This client ended on purpose: nobody waits for it any more."""
        self._lost.discard(client)


@functools.cache
def edges_of(host: str, port: int) -> BrokerEdges:
    """The one instance for a broker in this process."""
    return BrokerEdges(f"{host}:{port}")
