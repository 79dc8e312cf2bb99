"""Chooses the images that are held out: short runs over the file order, so that shots of one part stay together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SPLIT_FROM = 80
"""With at least this many images, a fifth is held out of a prototype head; with fewer, all go into its banks."""


def held_out(count: int, share: float = 0.2) -> NDArray[np.bool_]:
    """Which of `count` images, in file order, are held out: short runs spread over the whole set.

    Neighbours in file order are often shots of one part; runs keep most of them on one side.
    """
    run = max(1, count // 50)
    period = max(2, round(1.0 / share))
    return np.asarray((np.arange(count) // run) % period == period - 1, np.bool_)
