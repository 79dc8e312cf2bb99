"""Calibrates a head by the scores of held-out images. It knows nothing of how heads are fitted."""

from __future__ import annotations

import numpy as np

from inspector.training.heads.base import Fitted
from inspector.training.statistics.calibrating import calibrate
from inspector.vision.artifacts.format import MapScale
from inspector.vision.heads.base import HeadModel, Judgement


def calibrated(
    model: HeadModel, judged: list[tuple[int, Judgement]], held_out: str, alpha: float, *, is_cross_fit: bool = False
) -> Fitted:
    """The model with its threshold and the scale of its map.

    `judged`: images by index, with the head's judgements. `held_out`: a sentence that says which images these are.
    `is_cross_fit`: whether the scores come from other heads than the deployed one.
    """
    scores = np.array([judgement.score for _, judgement in judged])
    peaks = np.array([float(judgement.grid_map.max()) for _, judgement in judged])
    calibration = calibrate(scores, held_out=held_out, is_cross_fit=is_cross_fit, alpha=alpha)
    of_map = calibrate(peaks, held_out=held_out, is_cross_fit=is_cross_fit, alpha=alpha)
    return Fitted(model, calibration, MapScale(of_map.median, of_map.threshold), judged)
