"""Official definitions of detection and localisation figures; NumPy and OpenCV only.

Higher scores are more anomalous everywhere. A figure that the data can't give (one class only, no
masks) is None, never 0 or NaN. Ties are merged: equal scores are one threshold.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.training.statistics.ranking import Floats, counts_at_thresholds

FALSE_POSITIVE_LIMIT = 0.3
Mask = NDArray[np.bool_]


def average_precision(good: Floats, defective: Floats) -> float | None:
    """Sum over thresholds of precision times the rise of recall; each distinct score is a threshold."""
    if len(good) == 0 or len(defective) == 0:
        return None
    hits, false_alarms = counts_at_thresholds(good, defective)
    recall = np.concatenate([[0.0], hits / len(defective)])
    precision = hits / (hits + false_alarms)
    return float((np.diff(recall) * precision).sum())


def best_f1(good: Floats, defective: Floats) -> float | None:
    """The largest F1 over all thresholds (F1-max)."""
    if len(good) == 0 or len(defective) == 0:
        return None
    hits, false_alarms = counts_at_thresholds(good, defective)
    return float((2.0 * hits / (hits + false_alarms + len(defective))).max())


def pixel_figures(pairs: Iterable[tuple[NDArray[np.float32], Mask]]) -> tuple[float | None, float | None]:
    """Pixel AUROC and AUPRO over all images of a product: (map, mask) pairs at original resolution.

    AUPRO (Bergmann et al., IJCV 2021): regions are 8-connected; the false-positive rate is over all normal
    pixels of all images; the mean over regions of the share found is integrated over that rate from 0 to
    0.3, every distinct score being a threshold, interpolated at 0.3, and divided by 0.3.
    Normal pixels are only sorted, and the curve has corners at defective scores alone: eight bytes a pixel.
    """
    normal, defective, weights, regions = [], [], [], 0
    for score_map, mask in pairs:
        if score_map.shape != mask.shape:
            raise ValueError(f"a map of {score_map.shape} can't be judged by a mask of {mask.shape}")
        scores = score_map.astype(np.float32, copy=False)
        normal.append(scores[~mask])
        defective.append(scores[mask])
        weight, found = _region_weights(mask)
        weights.append(weight)
        regions += found
    if regions == 0 or not any(len(part) for part in normal):
        return None, None
    background = np.concatenate(normal)
    normal.clear()
    background.sort()
    return _curve_areas(background, np.concatenate(defective), np.concatenate(weights), regions)


def _region_weights(mask: Mask) -> tuple[NDArray[np.float64], int]:
    """1 / area of its region for each defective pixel, in the order of `mask`; and the number of regions."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    inside = np.asarray(labels)[mask]
    areas = np.bincount(inside, minlength=count).astype(np.float64)
    return 1.0 / areas[inside], count - 1


def _curve_areas(
    background: NDArray[np.float32], defective: NDArray[np.float32], weights: Floats, regions: int
) -> tuple[float, float]:
    """Pixel AUROC and AUPRO. `background` is sorted.

    Between two distinct defective scores only the false-positive rate moves, so the exact curve goes
    through two points per such score: just before it, and with it and all normal pixels equal to it.
    """
    order = np.argsort(-defective, kind="stable")
    descending = defective[order]
    last_of_tie = np.append(np.flatnonzero(np.diff(descending)), len(descending) - 1)
    thresholds = descending[last_of_tie]
    before = len(background) - np.searchsorted(background, thresholds, side="right")
    within = len(background) - np.searchsorted(background, thresholds, side="left")
    false_positives = np.stack([before, within], axis=1).ravel() / len(background)
    overlap = np.cumsum(weights[order])[last_of_tie] / regions
    hits = (last_of_tie + 1) / len(defective)
    auroc = _area(false_positives, _steps(hits), 1.0)
    return auroc, _area(false_positives, _steps(overlap), FALSE_POSITIVE_LIMIT) / FALSE_POSITIVE_LIMIT


def _steps(reached: Floats) -> Floats:
    """Each value preceded by the one before it, the first by 0."""
    return np.stack([np.concatenate([[0.0], reached[:-1]]), reached], axis=1).ravel()


def _area(x: Floats, y: Floats, limit: float) -> float:
    """Area under y over x from 0 to `limit`, by trapezes, the last one cut at the limit. `x` rises; both end at 1."""
    x, y = np.concatenate([[0.0], x, [1.0]]), np.concatenate([[0.0], y, [1.0]])
    inside = int(np.searchsorted(x, limit, side="right"))
    area = float(np.trapezoid(y[:inside], x[:inside]))
    if inside < len(x) and x[inside - 1] < limit:
        share = (limit - x[inside - 1]) / (x[inside] - x[inside - 1])
        at_limit = y[inside - 1] + share * (y[inside] - y[inside - 1])
        area += float((limit - x[inside - 1]) * (y[inside - 1] + at_limit) / 2.0)
    return area


def roc_curve(good: Floats, defective: Floats) -> tuple[Floats, Floats]:
    """Shares of good and of defective images at or above each distinct score, from (0, 0) to (1, 1)."""
    hits, false_alarms = counts_at_thresholds(good, defective)
    return (
        np.concatenate([[0.0], false_alarms / max(1, len(good))]),
        np.concatenate([[0.0], hits / max(1, len(defective))]),
    )
