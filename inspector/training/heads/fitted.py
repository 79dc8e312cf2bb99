"""How a head's images are split, and what comes out of fitting it: the head, its threshold, its map's scale.

No image is both in the deployed head and in a certified calibration.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inspector.training.dataset.gathering import Progress
from inspector.training.heads.prototype import HeadFitter, held_out
from inspector.training.statistics.calibrating import calibrate
from inspector.vision.artifacts.calibration import Calibration
from inspector.vision.artifacts.format import MapScale
from inspector.vision.heads.base import Judgement
from inspector.vision.heads.prototype import Member
from inspector.vision.heads.student import Student

SPLIT_FROM = 80
"""From so many images on a fifth is held out; fewer go all into the bank and are scored by cross-fit."""
FOLDS = 10


@dataclass(frozen=True, slots=True)
class Fitted:
    """A head (`members` or `student`), calibrated. `judged`: images that calibrated it, with what it said."""

    members: list[Member]
    calibration: Calibration
    map_scale: MapScale
    judged: list[tuple[int, Judgement]]
    student: Student | None = None


def fit(fitter: HeadFitter, count: int, alpha: float, progress: Progress) -> Fitted:
    if count >= SPLIT_FROM:
        return _fit_held_out(fitter, count, alpha, progress)
    return _fit_crossed(fitter, count, alpha, progress)


def _fit_held_out(fitter: HeadFitter, count: int, alpha: float, progress: Progress) -> Fitted:
    """A fifth of the images calibrates. The units come from within the rest, so that the fifth stays unseen."""
    is_held = held_out(count)
    bank, held = np.flatnonzero(~is_held).tolist(), np.flatnonzero(is_held).tolist()
    fitter.sample(bank, progress)
    is_inner = held_out(len(bank))
    inner = [image for image, apart in zip(bank, is_inner, strict=True) if apart]
    outer = [image for image, apart in zip(bank, is_inner, strict=True) if not apart]
    trial = fitter.fit(outer, is_trial=True)
    units = fitter.units(trial, fitter.measure(trial, inner, progress))
    members = fitter.with_units(fitter.fit(bank, progress), units)
    judged = list(zip(held, fitter.blend(members, fitter.measure(members, held, progress)), strict=True))
    text = f"{len(held)} of {count} images in runs over the file order, never in the bank"
    return calibrated(members, judged, text, None, alpha)


def _fit_crossed(fitter: HeadFitter, count: int, alpha: float, progress: Progress) -> Fitted:
    """Few images: all go into the bank, and each is scored by a head that did not see it."""
    everything = list(range(count))
    fitter.sample(everything, progress)
    folds = min(FOLDS, count)
    measured = []
    members: list[Member] = []
    for fold in range(folds):
        apart = everything[fold::folds]
        members = fitter.fit([image for image in everything if image not in apart], is_trial=True)
        measured += fitter.measure(members, apart, progress)
    units = fitter.units(members, measured)
    members = fitter.with_units(fitter.fit(everything, progress), units)
    judged = list(zip([raw.image for raw in measured], fitter.blend(members, measured), strict=True))
    return calibrated(members, judged, f"{folds}-fold cross-fit over all {count} images", folds, alpha)


def calibrated(
    members: list[Member],
    judged: list[tuple[int, Judgement]],
    text: str,
    folds: int | None,
    alpha: float,
    student: Student | None = None,
) -> Fitted:
    """`folds` None: the scores are of the deployed head."""
    scores = np.array([judgement.score for _, judgement in judged])
    peaks = np.array([float(judgement.grid_map.max()) for _, judgement in judged])
    is_cross_fit = folds is not None
    calibration = calibrate(scores, held_out=text, is_cross_fit=is_cross_fit, alpha=alpha)
    of_map = calibrate(peaks, held_out=text, is_cross_fit=is_cross_fit, alpha=alpha)
    return Fitted(members, calibration, MapScale(of_map.median, of_map.threshold), judged, student)
