"""Keeps which camera sends frames that can't be judged, and says when people are told of it.

Pure; time is passed in. A fault is told when it begins, then at most once in a while with the number of frames since,
and at its end. A camera that comes and goes between good and faulty frames is told no more often than that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from inspector.domain import FrameFault

TOLD_AGAIN_NS: Final = 60_000_000_000
"""Shortest time between two reports of one fault of one camera."""
SOUND_IN_A_ROW: Final = 5
"""Number of judged frames in a row after which a camera's fault is over."""


@dataclass(frozen=True, slots=True)
class FaultReport:
    """`count` frames had this fault since it was last reported; or the fault is over, if `is_over`."""

    fault: FrameFault
    count: int
    is_over: bool


@dataclass(slots=True)
class _Camera:
    """`untold`: frames since the last report, by fault. `told`: faults that began and are not over, as far as told."""

    fault: FrameFault | None = None
    sound: int = 0
    untold: dict[FrameFault, int] = field(default_factory=dict)
    told_ns: dict[FrameFault, int] = field(default_factory=dict)
    told: set[FrameFault] = field(default_factory=set)


class FaultWatch:
    """Notes the frames of each camera that were judged or had a fault. One event loop owns it."""

    def __init__(self) -> None:
        self._cameras: dict[str, _Camera] = {}

    def current(self, camera: str) -> FrameFault | None:
        """The fault of the camera's latest frames; None while its frames are judged."""
        seen = self._cameras.get(camera)
        return None if seen is None else seen.fault

    def note(self, camera: str, fault: FrameFault | None, now_ns: int) -> list[FaultReport]:
        """Note a frame that had `fault`, or None if it was judged. Returns what people should be told now."""
        seen = self._cameras.setdefault(camera, _Camera())
        return _sound(seen) if fault is None else _faulty(seen, fault, now_ns)


def _faulty(seen: _Camera, fault: FrameFault, now_ns: int) -> list[FaultReport]:
    seen.fault, seen.sound = fault, 0
    seen.untold[fault] = seen.untold.get(fault, 0) + 1
    told_ns = seen.told_ns.get(fault)
    if told_ns is not None and now_ns - told_ns < TOLD_AGAIN_NS:
        return []
    seen.told_ns[fault] = now_ns
    seen.told.add(fault)
    return [FaultReport(fault, seen.untold.pop(fault), is_over=False)]


def _sound(seen: _Camera) -> list[FaultReport]:
    if seen.fault is None:
        return []
    seen.sound += 1
    if seen.sound < SOUND_IN_A_ROW:
        return []
    seen.fault = None
    over, seen.told = sorted(seen.told), set()
    return [FaultReport(fault, seen.untold.pop(fault, 0), is_over=True) for fault in over]
