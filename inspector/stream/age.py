"""Bounds the age of a message of one broker stream, by the agent's own monotonic clock alone.

The agent sends markers of its own through the stream that brings the frames. A broker passes messages on in the order
in which it read them. A frame that comes after a marker was therefore read by the broker after that marker.

A broker that had stopped reads its waiting sockets in any order, so a frame that was sent before a marker may come
after the marker. The agent therefore sends a marker only after the previous marker has come back, and it bounds a
frame by the marker before the last. The broker had emptied its sockets when it read the marker before the last, so the
frame had not reached the broker by then.

Pure: times are monotonic nanoseconds passed in. This module does not depend on MQTT or Kafka.
"""

from __future__ import annotations

from dataclasses import dataclass

from inspector.config.line_sections import GateSection


@dataclass(frozen=True, slots=True)
class _Sent:
    number: int
    at_ns: int


class AgeBound:
    """Bounds the age of the messages of one connection (or of one assignment of a partition).

    Call `begin` for each new connection, and `send` and `returned` for each marker.
    """

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns
        self._number = 0
        self._under_way: _Sent | None = None
        self._last_sent_ns: int | None = None
        self._emptied_ns: int | None = None
        self._not_before_ns: int | None = None

    @property
    def not_before_ns(self) -> int | None:
        """The earliest time at which a message that comes now can have reached the broker; None if it is not known."""
        return self._not_before_ns

    def begin(self, opened_ns: int, *, is_fresh: bool) -> None:
        """A connection that began to open at `opened_ns` is up.

        `is_fresh`: the subscription began with the connection, so no older message can come. Otherwise the broker may
        have kept messages, and there is no bound until the first marker comes back.
        """
        self._under_way = None
        self._last_sent_ns = None
        # The broker's answer to the connection proves, like a returned marker, that the broker has read its sockets.
        self._emptied_ns = opened_ns
        self._not_before_ns = opened_ns if is_fresh else None

    def end(self) -> None:
        """The connection is lost: there is no bound until the next `begin`."""
        self._under_way = self._last_sent_ns = self._emptied_ns = self._not_before_ns = None

    def due_ns(self) -> int | None:
        """The time at which to send the next marker; 0 means at once. None while a marker is under way, or without a
        connection.

        After a slow marker the bound lies far back until two more have come, so these are sent at once.
        """
        if self._emptied_ns is None or self._under_way is not None:
            return None
        if self._last_sent_ns is None:
            return 0
        is_far_back = self._not_before_ns is not None and self._last_sent_ns - self._not_before_ns > 2 * self._period_ns
        return 0 if is_far_back else self._last_sent_ns + self._period_ns

    def send(self, now_ns: int) -> int:
        """Note that a marker is about to be sent. Returns its number, which the marker must carry."""
        self._number += 1
        self._under_way = _Sent(self._number, now_ns)
        self._last_sent_ns = now_ns
        return self._number

    def returned(self, number: int, now_ns: int) -> bool:
        """Note a marker that came back, in order with the frames. False for a marker that is not awaited."""
        if self._under_way is None or self._under_way.number != number:
            return False
        self._not_before_ns = self._emptied_ns
        # A marker that took longer than a period shows that the broker stood still. Part of a large frame may have
        # reached the broker before that, and the rest arrives a few rounds later. So this marker does not prove that
        # the sockets were empty.
        if now_ns - self._under_way.at_ns <= self._period_ns:
            self._emptied_ns = self._under_way.at_ns
        self._under_way = None
        return True

    def proof_age_ns(self, now_ns: int) -> int | None:
        """The greatest age of a frame that arrives now; None if there is no bound."""
        return None if self._not_before_ns is None else now_ns - self._not_before_ns


def marker_period_ms(window_ms: float) -> float:
    """Milliseconds between markers: a sixth of the window, at most 250.

    The bound of a frame that did not wait lies up to two periods and a marker's way back. Two thirds of the window are
    left to the frame then, also at a gate where its time counts from the bound. The period is never below 5 ms: more
    frequent markers are not worth their cost.
    """
    return max(5.0, min(250.0, window_ms / 6))


def longest_proof_ms(gate: GateSection) -> float:
    """Milliseconds of the window that the proof of a frame's age may take, if markers come on time and at once.

    A frame is at most two periods of the markers old. At a gate without trigger ids the time left counts from there.
    """
    return 2 * marker_period_ms(gate.window_ms) if gate.match == "single_in_flight" else 0.0
