"""Official definitions of detection and localisation figures; NumPy and OpenCV only.

Higher scores are more anomalous everywhere. A figure that the data can't give (one class only, no
masks) is None, never 0 or NaN. Ties are merged: equal scores are one threshold.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

FALSE_POSITIVE_LIMIT = 0.3

Floats = NDArray[np.floating]
Mask = NDArray[np.bool_]


def image_auroc(good: Floats, defective: Floats) -> float | None:
    """Probability that a defective image scores above a good one, ties counted half."""
    if len(good) == 0 or len(defective) == 0:
        return None
    ordered = np.sort(good)
    below = np.searchsorted(ordered, defective, side="left")
    up_to = np.searchsorted(ordered, defective, side="right")
    return float((below + up_to).sum() / (2.0 * len(good) * len(defective)))


def average_precision(good: Floats, defective: Floats) -> float | None:
    """Sum over thresholds of precision times the rise of recall; each distinct score is a threshold."""
    if len(good) == 0 or len(defective) == 0:
        return None
    hits, false_alarms = _counts_at_thresholds(good, defective)
    recall = np.concatenate([[0.0], hits / len(defective)])
    precision = hits / (hits + false_alarms)
    return float((np.diff(recall) * precision).sum())


def best_f1(good: Floats, defective: Floats) -> float | None:
    """The largest F1 over all thresholds (F1-max)."""
    if len(good) == 0 or len(defective) == 0:
        return None
    hits, false_alarms = _counts_at_thresholds(good, defective)
    return float((2.0 * hits / (hits + false_alarms + len(defective))).max())


def _counts_at_thresholds(good: Floats, defective: Floats) -> tuple[Floats, Floats]:
    """Defective and good images at or above each distinct score, from the highest score down."""
    thresholds = np.unique(np.concatenate([good, defective]))[::-1]
    hits = len(defective) - np.searchsorted(np.sort(defective), thresholds, side="left")
    false_alarms = len(good) - np.searchsorted(np.sort(good), thresholds, side="left")
    return hits.astype(np.float64), false_alarms.astype(np.float64)


def pixel_figures(pairs: Iterable[tuple[NDArray[np.float32], Mask]]) -> tuple[float | None, float | None]:
    """Pixel AUROC and AUPRO over all images of a product: (map, mask) pairs at original resolution.

    AUPRO (Bergmann et al., IJCV 2021): regions are 8-connected; the false-positive rate is over all normal
    pixels of all images; the mean over regions of the share found is integrated over that rate from 0 to
    0.3, every distinct score being a threshold, interpolated at 0.3, and divided by 0.3.
    Takes about 13 bytes a pixel: sorted once, weights gathered in the order of scores.
    """
    maps, weights, regions = [], [], 0
    for score_map, mask in pairs:
        if score_map.shape != mask.shape:
            raise ValueError(f"a map of {score_map.shape} can't be judged by a mask of {mask.shape}")
        weight, found = _region_weights(mask)
        maps.append(score_map.astype(np.float32, copy=False).ravel())
        weights.append(weight.ravel())
        regions += found
    if not maps:
        return None, None
    scores, weight = np.concatenate(maps), np.concatenate(weights)
    maps.clear()
    weights.clear()
    return _curve_areas(scores, weight, regions)


def _region_weights(mask: Mask) -> tuple[NDArray[np.float32], int]:
    """1 / area of the pixel's region, 0 on normal pixels; and the number of regions."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    areas = np.bincount(labels.ravel(), minlength=count).astype(np.float64)
    share = 1.0 / np.maximum(areas, 1.0)
    share[0] = 0.0
    return share.astype(np.float32)[labels], count - 1


def _curve_areas(
    scores: NDArray[np.float32], weight: NDArray[np.float32], regions: int
) -> tuple[float | None, float | None]:
    is_defect = weight > 0
    normal_count, defect_count = int((~is_defect).sum()), int(is_defect.sum())
    if normal_count == 0 or defect_count == 0:
        return None, None
    order = np.argsort(-scores, kind="stable")
    scores, weight = scores[order], weight[order]
    del order
    last_of_tie = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    false_positives = np.cumsum(weight == 0)[last_of_tie] / normal_count
    overlap = np.cumsum(weight, dtype=np.float64)[last_of_tie] / regions
    hits = np.cumsum(weight > 0)[last_of_tie] / defect_count
    auroc = _area(false_positives, hits, 1.0)
    return auroc, _area(false_positives, overlap, FALSE_POSITIVE_LIMIT) / FALSE_POSITIVE_LIMIT


def _area(x: Floats, y: Floats, limit: float) -> float:
    """Area under y over x from 0 to `limit`, by trapezes, the last one cut at the limit. `x` rises."""
    x, y = np.concatenate([[0.0], x]), np.concatenate([[0.0], y])
    inside = int(np.searchsorted(x, limit, side="right"))
    area = float(np.trapezoid(y[:inside], x[:inside]))
    if inside < len(x) and x[inside - 1] < limit:
        share = (limit - x[inside - 1]) / (x[inside] - x[inside - 1])
        at_limit = y[inside - 1] + share * (y[inside] - y[inside - 1])
        area += float((limit - x[inside - 1]) * (y[inside - 1] + at_limit) / 2.0)
    return area
