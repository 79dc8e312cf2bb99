"""When a shadow version may score a frame, and which frames wait for it. Pure: times are passed in.

A shadow pass that has begun can't be stopped, so a live frame that comes meanwhile waits for it. This delay is one pass
of one frame. It is allowed only while live frames lately had much more time to spare than that.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Generic, TypeVar

T = TypeVar("T")

REMEMBERED_FRAMES: Final = 64
SPARE_PASSES: Final = 2
"""A shadow pass may use up half of the smallest time to spare: others may delay the same frame too."""

MOST_FRAMES: Final = 16
MOST_BYTES: Final = 64 * 1024 * 1024


class Headroom:
    """The time that the newest live frames had left when they were decided. Frames without a deadline don't count."""

    def __init__(self) -> None:
        self._spare_ns: deque[int] = deque(maxlen=REMEMBERED_FRAMES)

    @property
    def smallest_ns(self) -> int | None:
        """The smallest time to spare; None if no frame has had a deadline. Negative: a frame was late."""
        return min(self._spare_ns, default=None)

    def note(self, spare_ns: int) -> None:
        """Note the time left of a live frame that is decided now."""
        self._spare_ns.append(spare_ns)

    def allows(self, cost_ns: int) -> bool:
        """Whether no frame like the newest ones would miss its deadline if it waited for this long."""
        smallest_ns = self.smallest_ns
        return smallest_ns is None or smallest_ns >= SPARE_PASSES * cost_ns


class ShadowLine(Generic[T]):
    """Frames that wait for a shadow version, oldest first, bounded by number and bytes. Nothing ever waits for room."""

    def __init__(self, most_frames: int = MOST_FRAMES, most_bytes: int = MOST_BYTES) -> None:
        self._most_frames = most_frames
        self._most_bytes = most_bytes
        self._waiting: deque[tuple[T, int]] = deque()
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, item: T, size_bytes: int) -> bool:
        """Add a frame at the end. False if there is no room: the frame is left out, and those that wait keep theirs."""
        if len(self._waiting) >= self._most_frames or self._size_bytes + size_bytes > self._most_bytes:
            return False
        self._waiting.append((item, size_bytes))
        self._size_bytes += size_bytes
        return True

    def take(self) -> T | None:
        """The oldest frame; None if none waits."""
        if not self._waiting:
            return None
        item, size_bytes = self._waiting.popleft()
        self._size_bytes -= size_bytes
        return item
