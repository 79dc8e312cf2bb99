"""How many frames one pass should take, on an engine whose passes take batches: measured on this machine.

A GPU waits for its launches, so that many frames cost it hardly more than one. On a CPU a batch wins little, and every
frame of it waits for all of them. Which of the two holds, and up to how many frames, is told by a clock.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inspector.errors import EngineError
from inspector.vision.engines.protocols import Embedder

SIZES: Final = (1, 2, 4, 8, 16, 32, 64)
ROUNDS: Final = 5
LONGEST_PASS_S: Final = 0.025
"""A frame that comes just after a batch has begun waits for all of it, and a reject gate leaves 50 ms."""

WORTH: Final = 0.9
"""A larger batch is taken where it costs less than this share of a smaller one, for each frame: frames wait for it."""


def best_batch(
    embedder: Embedder,
    canvas: tuple[int, int],
    *,
    sizes: Sequence[int] = SIZES,
    now_s: Callable[[], float] = time.perf_counter,
) -> int:
    """Most frames [Hc, Wc, 3] of one pass. Takes well under a second where passes are short.

    `sizes`: to try, the smallest first; the search ends where a pass takes longer than LONGEST_PASS_S, or can't be made
    because memory does not suffice. The smallest one is always allowed. Raises EngineError where not even that passes.
    """
    frame_s: dict[int, float] = {}
    for size in sizes:
        try:
            took_s = _median_s(embedder, np.zeros((size, *canvas, 3), np.uint8), now_s)
        except EngineError:
            if not frame_s:
                raise
            break
        if not frame_s or took_s <= LONGEST_PASS_S:
            frame_s[size] = took_s / size
        if took_s > LONGEST_PASS_S:
            break
    least_s = min(frame_s.values())
    return next(size for size, each_s in frame_s.items() if each_s * WORTH <= least_s)


def _median_s(embedder: Embedder, pixels: NDArray[np.uint8], now_s: Callable[[], float]) -> float:
    embedder(pixels)  # makes room in memory, and on a GPU captures the pass
    took_s = []
    for _ in range(ROUNDS):
        began_s = now_s()
        embedder(pixels)
        took_s.append(now_s() - began_s)
    return statistics.median(took_s)
