"""Suspicious regions of a frame, from the levels of its heat map."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.domain import Region

MAX_REGIONS = 16


def find_regions(levels: NDArray[np.float32], size: tuple[int, int], *, is_reject: bool) -> tuple[Region, ...]:
    """Connected parts of the map above its threshold, largest peak first, in pixels of the original frame.

    A rejected frame has at least one region. Map and decision are computed apart, so the map of a rejected frame may
    stay below its threshold; then the region is the part around the map's peak.
    """
    peak = float(levels.max())
    floor = 1.0
    if peak <= floor:
        if not is_reject:
            return ()
        floor = peak - 0.1 * abs(peak) - 1e-6
    count, labels, boxes, _ = cv2.connectedComponentsWithStats((levels > floor).astype(np.uint8), connectivity=8)
    across, down = size[1] / levels.shape[1], size[0] / levels.shape[0]
    peaks = np.full(count, -np.inf, np.float32)
    np.maximum.at(peaks, np.asarray(labels, np.int64).ravel(), levels.ravel())
    found = []
    for number in sorted(range(1, count), key=lambda index: -peaks[index])[:MAX_REGIONS]:
        x, y, width, height, area = (int(value) for value in boxes[number])
        left, top = math.floor(x * across), math.floor(y * down)
        right, bottom = min(size[1], math.ceil((x + width) * across)), min(size[0], math.ceil((y + height) * down))
        found.append(
            Region(left, top, right - left, bottom - top, max(1, round(area * across * down)), float(peaks[number]))
        )
    return tuple(found)
