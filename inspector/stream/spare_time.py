"""Decides whether a late frame may be judged now without delaying a deadline of a live frame. Pure.

A late frame occupies the scorer for as long as a frame takes. A live frame that comes meanwhile is decided later by at
most that time. So a late frame may be judged while the last live frames had clearly more time left than
a frame takes, or while the line rests.
"""

from __future__ import annotations

from collections import deque
from typing import Final

REST_S: Final = 5.0
"""A line whose last frame, live or late, is this old rests."""

MARGIN: Final = 1.5
"""A live frame must have had this many times as much time left as judging a late frame takes."""

REMEMBERED: Final = 64
"""Live frames and late frames that the estimates are taken from."""


class SpareTime:
    """The time that live frames at gates had left, and the time that judging a frame takes."""

    def __init__(self, now_ns: int) -> None:
        self._last_frame_ns = now_ns
        self._left_ns: deque[int] = deque(maxlen=REMEMBERED)
        self._costs_ns: deque[int] = deque(maxlen=REMEMBERED)

    def note_live(self, left_ns: int, work_ns: int, now_ns: int) -> None:
        """Note a live frame that was decided `left_ns` before its deadline. Decoding to scoring took `work_ns`."""
        self._last_frame_ns = now_ns
        self._left_ns.append(left_ns)
        if work_ns:
            self._costs_ns.append(work_ns)

    def note_arrival(self, now_ns: int) -> None:
        """Note a late frame that arrived: the line does not rest while frames still come from the broker."""
        self._last_frame_ns = max(self._last_frame_ns, now_ns)

    def note_late(self, work_ns: int) -> None:
        """Note a late frame that was judged; it took `work_ns`."""
        self._costs_ns.append(work_ns)

    def is_enough(self, now_ns: int) -> bool:
        """Whether a late frame may be judged now, if no live frame is under way."""
        if now_ns - self._last_frame_ns >= REST_S * 1e9:
            return True
        if not self._left_ns or not self._costs_ns:
            return False
        return min(self._left_ns) >= MARGIN * max(self._costs_ns)
