"""A camera's frames in the other form of its topic: without the trigger id at its end, or with one.

A camera whose count is not there for one part publishes on `.../frame` in place of `.../frame/4711`. An agent that
hears one form alone would never know of that part. But an access list may allow one form alone, so a refusal is told
and costs nothing else, also where the broker hangs up on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from connectors.mqtt.wire.connection import Connection

HANG_UPS: Final = 2
"""After so many connections in a row that end before an answer, the broker is taken for one that hangs up on it.

The next connection goes without. The one after it asks once more: the links may have been lost for another reason.
"""


class OtherForm:
    """Asks each connection for one filter, and calls `refused` with the reason once when the broker says no."""

    def __init__(self, topic_filter: str, refused: Callable[[str], None]) -> None:
        self._filter = topic_filter
        self._refused = refused
        self._unanswered = 0
        self._is_told = False

    def ask(self, connection: Connection) -> None:
        """Subscribe without waiting for the answer, unless the broker has just hung up on it."""
        if self._unanswered >= HANG_UPS:
            self._unanswered = HANG_UPS - 1
            self._tell(f"The broker at {connection.address} hangs up on a subscription to {self._filter}.")
            return
        self._unanswered += 1
        connection.ask_for([self._filter]).add_done_callback(partial(self._note, connection))

    def _note(self, connection: Connection, answer: asyncio.Future[bool]) -> None:
        if answer.result():
            self._is_told = False
        elif not connection.is_open:
            return
        else:
            self._tell(f"The broker at {connection.address} does not let this agent subscribe to {self._filter}.")
        self._unanswered = 0

    def _tell(self, reason: str) -> None:
        if not self._is_told:
            self._refused(reason)
        self._is_told = True
