"""Logs one line when a broker goes away and one when it is back, for all clients of this process together.

An agent has a client for each camera, one for the gates and one for the records. When the broker restarts, all of
them lose their link at nearly the same time, and a person wants to read that once.
"""

from __future__ import annotations

import functools
from typing import Final

import structlog

_log = structlog.get_logger("inspector.mqtt")


TOLD_EVERY_S: Final = 600.0
"""Seconds between two reports that another client takes this process's connections."""


class BrokerEdges:
    """The clients of this process that have lost the broker at `address`."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._lost: set[str] = set()
        self._was_up = False
        self._told_at_s: float | None = None

    def up(self, client: str) -> None:
        """Note a client's connection. Logs it for the first client ever and for the last one that was missing."""
        was_lost = bool(self._lost)
        self._lost.discard(client)
        if not self._was_up or (was_lost and not self._lost):
            _log.info("mqtt_broker_up", broker=self._address, client=client)
        self._was_up = True

    def down(self, client: str, reason: str) -> None:
        """Note a client's loss. Only the first of several losses is logged."""
        level = _log.debug if self._lost else _log.warning
        if client not in self._lost:
            level("mqtt_broker_down", broker=self._address, client=client, reason=reason)
        self._lost.add(client)

    def is_theft_news(self, now_s: float) -> bool:
        """Whether to report now that another client uses the name of a client of this process.

        All clients of this process then have the same trouble, so only one of them reports it, from time to time.
        """
        if self._told_at_s is not None and now_s - self._told_at_s < TOLD_EVERY_S:
            return False
        self._told_at_s = now_s
        return True

    def left(self, client: str) -> None:
        """Note that a client ended on purpose and does not count as missing."""
        self._lost.discard(client)


@functools.cache
def edges_of(host: str, port: int) -> BrokerEdges:
    """The shared instance for a broker in this process."""
    return BrokerEdges(f"{host}:{port}")
