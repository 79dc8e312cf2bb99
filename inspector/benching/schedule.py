"""The instants at which frames are due. They are fixed before the first frame is sent, so no answer can move them.

Pure: seconds in, seconds out. The clock and the broker are in `open_loop`.
"""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass


class Arrivals(enum.StrEnum):
    """How frames follow each other: at equal distances, or as a Poisson process (independent of each other)."""

    PERIODIC = "periodic"
    POISSON = "poisson"


@dataclass(frozen=True, slots=True)
class Due:
    """A frame that is due `at_s` seconds after the start, at camera number `camera` (from 0)."""

    at_s: float
    camera: int


def schedule(rate_fps: float, count: int, cameras: int, arrivals: Arrivals, seed: int = 1) -> list[Due]:
    """`count` frames at `rate_fps` of all cameras together, in the order in which they are due.

    Periodic: the cameras take turns, 1 / rate apart. Poisson: gaps are exponential with the mean 1 / rate, and each
    frame falls to a camera by chance, so that each camera's frames are a Poisson process of their own. The same seed
    gives the same schedule.
    """
    if arrivals is Arrivals.PERIODIC:
        return [Due(number / rate_fps, number % cameras) for number in range(count)]
    chance = random.Random(seed)
    at_s = 0.0
    found = []
    for _ in range(count):
        found.append(Due(at_s, chance.randrange(cameras)))
        at_s += chance.expovariate(rate_fps)
    return found
