"""Keeps a link alive and notices a dead one, whether or not its socket is being read.

paho's own keep-alive mistakes an unread PINGRESP for a dead broker. It is therefore not used while reading is stopped,
nor until the waiting messages have been read. Meanwhile an UNSUBSCRIBE of an unused topic shows the broker that the
client is alive; its answer comes after all messages that waited before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import paho.mqtt.client as paho

SIGN_OF_LIFE: Final = "inspector/sign-of-life"
"""A topic filter to which nobody subscribes."""

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

    @property
    def is_behind(self) -> bool:
        """Whether messages that nobody has read yet may lie before the next answer of the broker."""
        return self._is_behind

    def note_reading(self, is_reading: bool) -> None:
        """Note whether the socket is read from now on."""
        self._is_reading = is_reading
        self._last_read_s = self._now_s()
        self._is_behind = self._is_behind or not is_reading

    def note_read(self) -> None:
        """Bytes came."""
        self._last_read_s = self._now_s()

    def note_answer(self, packet_id: int) -> None:
        """Note an UNSUBACK. If it answers the last UNSUBSCRIBE, no earlier PINGRESP can still be unread."""
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
