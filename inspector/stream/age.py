"""How old a message of one broker stream can be, by the agent's own monotonic clock alone.

The agent sends markers of its own through the stream that brings the frames. A broker hands on what it has read in
the order it read it, so a frame that comes after a marker was read by the broker after that marker. A stopped broker
reads what waited in its sockets in any order, though: a frame that was sent before the marker may come after it. So a
marker is sent only when the one before it has come back, and a frame is bounded by the marker before the last. The
broker had emptied its sockets when it read that one, hence the frame was not there yet.
Pure: times are monotonic nanoseconds passed in. Knows nothing of MQTT or Kafka.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Sent:
    number: int
    at_ns: int


class AgeBound:
    """Bounds the age of what one connection (or one assignment of a partition) brings.

    `begin` starts over with each connection; `send` and `returned` are called for each marker.
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

        `is_fresh`: its subscription began with it, so that nothing older can come. Else the broker kept messages, and
        nothing is known until the first marker comes back.
        """
        self._under_way = None
        self._last_sent_ns = None
        # The answer to the connection shows, as the return of a marker does, that the broker has read its sockets.
        self._emptied_ns = opened_ns
        self._not_before_ns = opened_ns if is_fresh else None

    def end(self) -> None:
        """The connection is lost: nothing can be said of what comes until the next `begin`."""
        self._under_way = self._last_sent_ns = self._emptied_ns = self._not_before_ns = None

    def due_ns(self) -> int | None:
        """The time at which to send the next marker; 0 means at once. None while one is under way or without a
        connection."""
        if self._emptied_ns is None or self._under_way is not None:
            return None
        return 0 if self._last_sent_ns is None else self._last_sent_ns + self._period_ns

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
        # A marker that took longer than a period tells of a broker that stood still. A large frame may have reached it
        # in part before that and be whole only a few rounds later: this marker shows no emptied sockets.
        if now_ns - self._under_way.at_ns <= self._period_ns:
            self._emptied_ns = self._under_way.at_ns
        self._under_way = None
        return True

    def proof_age_ns(self, now_ns: int) -> int | None:
        """The greatest age of a frame that arrives now; None if there is no bound."""
        return None if self._not_before_ns is None else now_ns - self._not_before_ns


def marker_period_ms(window_ms: float, *, is_told_by_bound: bool) -> float:
    """Milliseconds between markers: a third of the window, at most 250.

    `is_told_by_bound`: the time left at this gate counts from the bound itself, which lies up to two periods back, so
    the period is a sixth of the window. Not below 5 ms, where markers would cost more than they tell.
    """
    return max(5.0, min(250.0, window_ms / (6 if is_told_by_bound else 3)))
