"""Detects cameras that send the same pictures again and again, because the camera or its buffer is frozen.

Pure. Two pictures of a sensor are never equal, because its noise never is. So a run of equal pictures, or a short cycle
of pictures, doesn't show the parts that passed. Only new frames are noted here: a frame that a broker delivers twice is
not new. Pictures are compared by a print: the SHA-256 of their bytes, or `print_of` their pixels, which is the same
when only a comment or a time in the file differs.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

FEWEST: Final = 5
"""How often every picture of a cycle must have come to make a repetition; fewer may be retakes or a test."""
LONGEST_CYCLE: Final = 4
"""Most different pictures that are recognised as a cycle."""
_PRINTED_ROWS: Final = 16


@dataclass(frozen=True, slots=True)
class Repetition:
    """A run of `count` frames that repeat `pictures` pictures. It has just begun, or just ended if `is_over`.

    `sha256`: the print of the run's latest frame.
    """

    sha256: str
    count: int
    is_over: bool
    pictures: int = 1


@dataclass(slots=True)
class _Camera:
    """`recent`: the latest prints, newest last. `runs[p - 1]`: frames in a row that equal the frame `p` before them."""

    recent: deque[str] = field(default_factory=lambda: deque(maxlen=LONGEST_CYCLE))
    runs: list[int] = field(default_factory=lambda: [0] * LONGEST_CYCLE)
    current: Repetition | None = None


class RepetitionWatch:
    """Notes the frames of each camera. One event loop owns it."""

    def __init__(self) -> None:
        self._cameras: dict[str, _Camera] = {}

    def note(self, camera: str, sha256: str) -> Repetition | None:
        """Note a new frame of the camera. Returns the repetition that begins or ends with it; None otherwise."""
        seen = self._cameras.setdefault(camera, _Camera())
        for cycle in range(1, LONGEST_CYCLE + 1):
            is_same = len(seen.recent) >= cycle and seen.recent[-cycle] == sha256
            seen.runs[cycle - 1] = seen.runs[cycle - 1] + 1 if is_same else 0
        seen.recent.append(sha256)
        before, seen.current = seen.current, _repetition(seen, sha256)
        if before is None:
            return seen.current
        return Repetition(before.sha256, before.count, True, before.pictures) if seen.current is None else None

    def current(self, camera: str) -> Repetition | None:
        """The repetition that the camera's latest frame belongs to, its beginning or a later frame; None if to none."""
        seen = self._cameras.get(camera)
        return None if seen is None else seen.current


def _repetition(seen: _Camera, sha256: str) -> Repetition | None:
    """The repetition with the fewest pictures, of all that the latest frame belongs to."""
    for pictures, run in enumerate(seen.runs, start=1):
        if run >= (FEWEST - 1) * pictures:
            return Repetition(sha256, run + pictures, is_over=False, pictures=pictures)
    return None


def print_of(pixels: NDArray[np.uint8]) -> str:
    """A print of a frame's pixels, uint8 [H, W, 3], C-contiguous. Frames with equal pixels have equal prints.

    It costs about a fiftieth of decoding. All pixels count, by the exclusive or of each column. Some rows count by
    themselves, because the columns alone would not show that a part moved up or down before an even ground.
    """
    height = pixels.shape[0]
    rows = pixels.reshape(height, -1)
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(np.bitwise_xor.reduce(rows, axis=0).tobytes())
    digest.update(rows[:: max(1, height // _PRINTED_ROWS)].tobytes())
    return digest.hexdigest()
