"""Measures how well scores tell good images from defective ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def image_auroc(good: Floats, defective: Floats) -> float | None:
    """Probability that a defective image scores above a good one, ties counted half."""
    if len(good) == 0 or len(defective) == 0:
        return None
    ordered = np.sort(good)
    below = np.searchsorted(ordered, defective, side="left")
    up_to = np.searchsorted(ordered, defective, side="right")
    return float((below + up_to).sum() / (2.0 * len(good) * len(defective)))


def counts_at_thresholds(good: Floats, defective: Floats) -> tuple[Floats, Floats]:
    """Defective and good images at or above each distinct score, from the highest score down."""
    thresholds = np.unique(np.concatenate([good, defective]))[::-1]
    hits = len(defective) - np.searchsorted(np.sort(defective), thresholds, side="left")
    false_alarms = len(good) - np.searchsorted(np.sort(good), thresholds, side="left")
    return hits.astype(np.float64), false_alarms.astype(np.float64)
