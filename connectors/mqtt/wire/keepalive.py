"""Keeps a link alive, and notices a dead one, whether or not its socket is being read.

paho's own keep-alive takes a PINGRESP it has not read for a dead broker, so while reading is stopped,
and until what piled up has been read, paho is not asked. An UNSUBSCRIBE of a topic nobody subscribed
to keeps the broker content instead; its answer comes after everything that piled up before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import paho.mqtt.client as paho

SIGN_OF_LIFE: Final = "inspector/sign-of-life"
"""The topic filter nobody subscribes to."""

TICK_S: Final = 1.0


class KeepAlive:
    """Ticks once a second for one connection; `give_up` is called with the reason when the broker is dead."""

    def __init__(
        self, client: paho.Client, keepalive_s: float, now_s: Callable[[], float], give_up: Callable[[str], None]
    ) -> None:
        self._client = client
        self._keepalive_s = keepalive_s
        self._now_s = now_s
        self._give_up = give_up
        self._is_behind = False
        self._is_reading = True
        self._last_read_s = now_s()
        self._sign: tuple[int | None, float] | None = None

    def note_reading(self, is_reading: bool) -> None:
        """The socket is read from now on, or no longer."""
        self._is_reading = is_reading
        self._last_read_s = self._now_s()
        self._is_behind = self._is_behind or not is_reading

    def note_read(self) -> None:
        """Bytes came."""
        self._last_read_s = self._now_s()

    def note_answer(self, packet_id: int) -> None:
        """An UNSUBACK was read. If it answers the last sign of life, no PINGRESP can be unread before it."""
        if self._sign is not None and self._sign[0] == packet_id:
            self._sign = None
            self._is_behind = not self._is_reading

    def tick(self) -> None:
        if not self._is_behind:
            self._client.loop_misc()
            return
        now_s = self._now_s()
        if self._sign is None or now_s - self._sign[1] >= self._keepalive_s / 2:
            _, packet_id = self._client.unsubscribe(SIGN_OF_LIFE)
            self._sign = (packet_id, now_s)
        if self._is_reading and now_s - self._last_read_s > 2 * self._keepalive_s:
            self._give_up("it does not answer any more")
