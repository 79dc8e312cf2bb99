"""Cameras that send one picture again and again under new ids: frozen, or fed from a buffer that is.

Pure. Two pictures of a sensor are never equal byte for byte, so a run of equal ones says nothing of the parts
that passed. It is asked only of new frames: what a broker delivers twice is no new frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FEWEST: Final = 5
"""So many equal frames in a row are a repetition; fewer may be retakes or a test."""


@dataclass(frozen=True, slots=True)
class Repetition:
    """A run of `count` equal frames that has just become an episode or, with `is_over`, has ended."""

    sha256: str
    count: int
    is_over: bool


class RepetitionWatch:
    """Counts the equal frames of each camera. One event loop owns it."""

    def __init__(self) -> None:
        self._runs: dict[str, tuple[str, int]] = {}

    def note(self, camera: str, sha256: str) -> Repetition | None:
        """A new frame of the camera came. The repetition that begins or ends with it; None where neither does."""
        last, count = self._runs.get(camera, ("", 0))
        if sha256 == last:
            self._runs[camera] = (sha256, count + 1)
            return Repetition(sha256, count + 1, is_over=False) if count + 1 == FEWEST else None
        self._runs[camera] = (sha256, 1)
        return Repetition(last, count, is_over=True) if count >= FEWEST else None
