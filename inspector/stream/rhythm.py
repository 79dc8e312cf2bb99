"""Watches how often the frames of a camera come: whether the camera is silent, and whether its rate is off.

Pure: times are monotonic nanoseconds passed in. The rate is the median over the last frames, so that a line that stops
for a moment changes nothing. It is compared with the configured rate, or else with the rate that the camera has shown
so far.
"""

from __future__ import annotations

import enum
import statistics
from collections import deque
from dataclasses import dataclass
from typing import Final

SECOND_NS: Final = 1_000_000_000

RECENT_FRAMES: Final = 16
LEARNED_FRAMES: Final = 256
FEWEST_LEARNED: Final = 64

CONFIGURED_FACTOR: Final = 2.0
LEARNED_FACTOR: Final = 3.0
"""A rate is off if it differs by more than this factor. A learned rate says less: lines are set faster or slower."""

SUSTAINED_NS: Final = 10 * SECOND_NS
"""Frames that waited come all at once. Only a rate that is off for this long is a fault."""

RELEARN_NS: Final = 600 * SECOND_NS
"""After this time the new rate is the usual one, if none is configured."""

SILENT_NS: Final = 5 * SECOND_NS
FEWEST_PARTS: Final = 5
"""A camera without a configured bound is silent after `SILENT_NS`, if at least this many parts passed its gate."""

QUIET_PERIODS: Final = 3
"""A camera with a configured bound is not silent before this many of its usual periods, if its line is that slow."""


class Sign(enum.Enum):
    """What has begun or ended."""

    SILENT = "silent"
    SILENT_ENDED = "silent_ended"
    RATE_OFF = "rate_off"
    RATE_BACK = "rate_back"


@dataclass(frozen=True, slots=True)
class Change:
    """A change in the rhythm of a camera, with the words for people."""

    sign: Sign
    detail: str


class Rhythm:
    """The rhythm of one camera. `rate_hz` and `silent_s` are its configured bounds; None: learned, or by its gate."""

    def __init__(self, rate_hz: float | None, silent_s: float | None, started_ns: int) -> None:
        self._configured_ns = None if rate_hz is None else SECOND_NS / rate_hz
        self._silent_ns = None if silent_s is None else int(silent_s * SECOND_NS)
        self._last_ns = started_ns
        self._has_frame = False
        self._parts = 0
        self._is_silent = False
        self._recent: deque[int] = deque(maxlen=RECENT_FRAMES)
        self._learned: deque[int] = deque(maxlen=LEARNED_FRAMES)
        self._usual_ns: float | None = self._configured_ns
        self._off_since_ns: int | None = None
        self._is_off = False

    @property
    def state(self) -> str:
        """One word for people and dashboards: `usual`, `silent` or `rate_off`."""
        return "silent" if self._is_silent else "rate_off" if self._is_off else "usual"

    def note_part(self) -> None:
        """Note a later part at the camera's gate than the camera has shown, by the PLC's or another camera's word."""
        self._parts += 1

    def note_frame(self, at_ns: int, *, is_live: bool = True) -> list[Change]:
        """Note a frame. Returns what ends or begins with it. A frame that waited says nothing about the rate."""
        changes: list[Change] = []
        if self._is_silent:
            self._is_silent = False
            detail = f"a frame came again after {_seconds(at_ns - self._last_ns)}"
            changes.append(Change(Sign.SILENT_ENDED, detail))
        elif self._has_frame and is_live:
            self._recent.append(at_ns - self._last_ns)
        self._last_ns, self._has_frame, self._parts = at_ns, is_live, 0
        if is_live and len(self._recent) == RECENT_FRAMES and (change := self._compare(at_ns)) is not None:
            changes.append(change)
        return changes

    def look(self, now_ns: int) -> Change | None:
        """The silence that has begun by now; None if there is none, or if it was told already."""
        quiet_ns = now_ns - self._last_ns
        if self._is_silent or quiet_ns < (self._silent_ns or SILENT_NS):
            return None
        if self._parts < FEWEST_PARTS and (
            self._silent_ns is None or quiet_ns < QUIET_PERIODS * (self._usual_ns or 0.0)
        ):
            return None
        self._is_silent = True
        detail = f"no frame for {_seconds(quiet_ns)}"
        if self._parts >= FEWEST_PARTS:
            detail += ", while parts came to its gate"
        if self._usual_ns is not None:
            detail += f"; usual is one frame every {_seconds(self._usual_ns)}"
        return Change(Sign.SILENT, f"{detail}: look at the camera, its trigger and its network")

    def _compare(self, at_ns: int) -> Change | None:
        period_ns = statistics.median(self._recent)
        if self._usual_ns is None or not self._differs(period_ns, self._usual_ns):
            self._learn()
            self._off_since_ns = None
            if self._is_off:
                self._is_off = False
                return Change(Sign.RATE_BACK, f"{_rate(period_ns)} again")
            return None
        if self._off_since_ns is None:
            self._off_since_ns = at_ns
        off_ns = at_ns - self._off_since_ns
        if self._configured_ns is None and off_ns >= RELEARN_NS:
            self._learned = deque(self._recent, maxlen=LEARNED_FRAMES)
            self._usual_ns, self._is_off, self._off_since_ns = period_ns, False, None
            return Change(Sign.RATE_BACK, f"{_rate(period_ns)} for {_seconds(off_ns)}: this is the usual rate now")
        if self._is_off or off_ns < SUSTAINED_NS:
            return None
        self._is_off = True
        whose = "usual are" if self._configured_ns is None else "rate_hz is"
        said = f"{_rate(period_ns)}; {whose} {SECOND_NS / self._usual_ns:.3g}"
        return Change(Sign.RATE_OFF, f"{said}: look at the speed of the line, the trigger and the network")

    def _differs(self, period_ns: float, usual_ns: float) -> bool:
        factor = LEARNED_FACTOR if self._configured_ns is None else CONFIGURED_FACTOR
        return not usual_ns / factor <= period_ns <= usual_ns * factor

    def _learn(self) -> None:
        if self._configured_ns is not None:
            return
        self._learned.append(self._recent[-1])
        if len(self._learned) >= FEWEST_LEARNED and len(self._learned) % RECENT_FRAMES == 0:
            self._usual_ns = max(1.0, statistics.median(self._learned))


def _seconds(span_ns: float) -> str:
    return f"{span_ns / SECOND_NS:,.3g} s"


def _rate(period_ns: float) -> str:
    return f"{SECOND_NS / max(period_ns, 1.0):.3g} frames come in a second"
