"""Doubts the age of a gate's frames after an outage of the broker, because a camera may have kept them meanwhile.

A marker proves how long a frame waited in the broker. It can't see how long the frame waited in the camera. A camera
whose client keeps messages while the broker is away sends them together once the broker is back. The first connection
of the process is not doubted, because that would cost the first part of each start. So after each other one the age of
the frames is doubted until one of these is true.

* There is a pause between two frames that is longer than kept frames need to follow each other. Kept frames come as
  fast as the network carries them. They lie a few ms apart if they are small, and as far apart as their transfer takes
  if they are large. So the pause grows with the frame: at least `PAUSE_NS`, and at least what a slow network takes for
  the frame. It never grows beyond the gate's window, since a frame whose transfer takes that long is never in time. At
  a gate of one part in flight it is at least half of the window: live parts lie about a window apart there, and a
  camera may also take its time between kept frames. A time in which the agent did not read is no pause.
* Frames have come for so long without a pause that a camera can't have kept them all. This ends the doubt about a
  camera that always sends fast. At a gate of one part in flight this takes `LONGEST_NS`, because a decision about a
  kept frame would hit another part there. Its parts, and so its live frames, lie about a window apart, so that they
  nearly always make a pause before. At a gate of triggers it takes `LONGEST_WITH_TRIGGER_NS`: the slot of a kept
  frame's trigger is closed, or still open for the right part. Cameras with 30 to 100 frames a second stand at such
  gates, and are live again after that second.

Pure: times are monotonic nanoseconds passed in.
"""

from __future__ import annotations

from typing import Final

from inspector.config.line_sections import GateSection

PAUSE_NS: Final = 40_000_000
"""Least pause between two frames that shows that the camera has nothing kept any more."""

SLOW_NS_PER_BYTE: Final = 100
"""A network that carries 10 MB a second, a little less than 100 Mbit/s."""

LONGEST_NS: Final = 10_000_000_000
"""Frames that come for so long without a pause are more than a camera keeps: a gigabyte at 1 Gbit/s."""

LONGEST_WITH_TRIGGER_NS: Final = 1_000_000_000


class OutageDoubt:
    """The doubt about one camera of a gate. Call `begin` for each connection, and `doubts` for each frame in order."""

    def __init__(self, gate: GateSection) -> None:
        window_ns = int(gate.window_ms * 1e6)
        self._most_pause_ns = max(PAUSE_NS, window_ns)
        self._least_pause_ns = PAUSE_NS if gate.match == "trigger_id" else max(PAUSE_NS, window_ns // 2)
        self._longest_ns = LONGEST_WITH_TRIGGER_NS if gate.match == "trigger_id" else LONGEST_NS
        self._is_in_doubt = False
        self._first_ns: int | None = None
        self._quiet_since_ns = 0

    def begin(self, *, is_first: bool) -> None:
        """A connection is up. `is_first`: it is the first one of this process, which is not doubted."""
        self._is_in_doubt = not is_first
        self._first_ns = None

    def note_reading(self, now_ns: int) -> None:
        """The agent reads the connection again. Only from now on can the camera be quiet."""
        self._quiet_since_ns = now_ns

    def doubts(self, received_ns: int, size_bytes: int, *, is_from_store: bool = False) -> bool:
        """Whether the frame of `size_bytes` that comes now may have waited in its camera.

        `is_from_store`: the broker had it before the outage, or kept it since. It says nothing about the camera, which
        may come back later than the agent, so the pause behind it is no pause of the camera.
        """
        if not self._is_in_doubt:
            return False
        if is_from_store:
            return True
        first_ns, quiet_ns = self._first_ns, received_ns - self._quiet_since_ns
        self._quiet_since_ns = received_ns
        if first_ns is None:
            self._first_ns = received_ns
            return True
        pause_ns = min(self._most_pause_ns, max(self._least_pause_ns, size_bytes * SLOW_NS_PER_BYTE))
        self._is_in_doubt = quiet_ns < pause_ns and received_ns - first_ns < self._longest_ns
        return self._is_in_doubt
