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

    `sizes`: to try, the smallest first; the search ends where a pass takes longer than LONGEST_PASS_S. The smallest one
    is always allowed. Raises EngineError where not even that can be passed.
    """
    frame_s: dict[int, float] = {}
    for size in sizes:
        pixels = np.zeros((size, *canvas, 3), np.uint8)
        embedder(pixels)  # makes room in memory, and on a GPU captures the pass
        took_s = statistics.median(_timed(embedder, pixels, now_s) for _ in range(ROUNDS))
        if frame_s and took_s > LONGEST_PASS_S:
            break
        frame_s[size] = took_s / size
        if took_s > LONGEST_PASS_S:
            break
    least_s = min(frame_s.values())
    return next(size for size, each_s in frame_s.items() if each_s * WORTH <= least_s)


def _timed(embedder: Embedder, pixels: np.ndarray, now_s: Callable[[], float]) -> float:
    began_s = now_s()
    embedder(pixels)
    return now_s() - began_s
