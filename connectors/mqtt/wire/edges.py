"""Tells once that a broker went away and once that it is back, for all clients of this process together.

An agent has a client for each camera, one for the gates and one for the records. When the broker restarts, all of
them lose their link at nearly the same time, and a person wants to read that once.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Final

import structlog

from inspector.domain import Severity

Report = Callable[[str, Severity, str, str], None]
"""Called with kind, severity, subject and detail of an event."""

_log = structlog.get_logger("inspector.mqtt")


TOLD_EVERY_S: Final = 600.0
"""Seconds between two reports that another client takes this process's connections."""


class BrokerEdges:
    """The clients of this process that have lost the broker at `address`. One event loop owns it."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._lost: set[str] = set()
        self._was_up = False
        self._told_at_s: float | None = None
        self._report: Report | None = None

    @contextlib.contextmanager
    def reported(self, report: Report) -> Iterator[None]:
        """The edges are events of an agent meanwhile, and not only lines of the log."""
        self._report = report
        try:
            yield
        finally:
            self._report = None

    def up(self, client: str) -> None:
        """Note a client's connection. Tells it for the first client ever and for the last one that was missing."""
        was_lost = bool(self._lost)
        self._lost.discard(client)
        if not self._was_up or (was_lost and not self._lost):
            if self._report is None:
                _log.info("mqtt_broker_up", broker=self._address, client=client)
            else:
                self._report("mqtt_broker_up", Severity.INFO, self._address, f"{client} is connected")
        self._was_up = True

    def down(self, client: str, reason: str) -> None:
        """Note a client's loss. Only the first of several losses is told; the others are lines of the debug log."""
        is_first = not self._lost
        if is_first and self._report is not None:
            self._report("mqtt_broker_down", Severity.WARNING, self._address, f"{client}: {reason}")
        elif client not in self._lost:
            level = _log.warning if is_first else _log.debug
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
