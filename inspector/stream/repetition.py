"""Detects cameras that send one picture again and again under new ids, because the camera or its buffer is frozen.

Pure. Two pictures of a sensor are never equal byte for byte, so a run of equal pictures doesn't show the parts
that passed. Only new frames are counted here: a frame that a broker delivers twice is not new.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FEWEST: Final = 5
"""Number of equal frames in a row that make a repetition; fewer may be retakes or a test."""


@dataclass(frozen=True, slots=True)
class Repetition:
    """A run of `count` equal frames that has just become a repetition or, if `is_over`, has just ended."""

    sha256: str
    count: int
    is_over: bool


class RepetitionWatch:
    """Counts the equal frames of each camera. One event loop owns it."""

    def __init__(self) -> None:
        self._runs: dict[str, tuple[str, int]] = {}

    def note(self, camera: str, sha256: str) -> Repetition | None:
        """Note a new frame of the camera. Returns the repetition that begins or ends with it; None otherwise."""
        last, count = self._runs.get(camera, ("", 0))
        if sha256 == last:
            self._runs[camera] = (sha256, count + 1)
            return Repetition(sha256, count + 1, is_over=False) if count + 1 == FEWEST else None
        self._runs[camera] = (sha256, 1)
        return Repetition(last, count, is_over=True) if count >= FEWEST else None
