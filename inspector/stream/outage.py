"""Doubts the age of frames that come after an outage of the broker, because a camera may have kept them meanwhile.

A marker proves how long a frame waited in the broker. It can't see how long the frame waited in the camera. A camera
whose client keeps messages while the broker is away sends them together once the broker is back, so the age of its
frames is doubted until there is a pause between two of them.

Pure: times are monotonic nanoseconds passed in.
"""

from __future__ import annotations

from typing import Final

PAUSE_NS: Final = 40_000_000
"""Pause between two frames that shows that the camera has nothing kept any more. Kept frames come within a few ms."""

LONGEST_NS: Final = 1_000_000_000
"""After the first frame, kept frames have all come within this time. It ends the doubt about a faster camera."""


class OutageDoubt:
    """The doubt about the frames of one camera. Call `begin` after an outage, and `doubts` for each frame in order."""

    def __init__(self) -> None:
        self._is_in_doubt = False
        self._first_ns: int | None = None
        self._last_ns = 0

    def begin(self) -> None:
        """The connection is back after a loss."""
        self._is_in_doubt = True
        self._first_ns = None

    def doubts(self, received_ns: int, *, is_from_store: bool = False) -> bool:
        """Whether the frame that comes now may have waited in its camera.

        `is_from_store`: the broker had it before the outage, or kept it since. It says nothing about the camera, which
        may come back later than the agent, so the pause behind it is no pause of the camera.
        """
        if not self._is_in_doubt:
            return False
        if is_from_store:
            return True
        first_ns, last_ns = self._first_ns, self._last_ns
        self._last_ns = received_ns
        if first_ns is None:
            self._first_ns = received_ns
            return True
        self._is_in_doubt = received_ns - last_ns < PAUSE_NS and received_ns - first_ns < LONGEST_NS
        return self._is_in_doubt
