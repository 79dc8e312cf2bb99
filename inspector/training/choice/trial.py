"""What heads and exposures are compared on: good images that no candidate learns from, clean and with drawn defects.

One set of images, one way of drawing and one budget for every choice. None of the images calibrates a deployed head.
The clean ones are the last in file order, so that a change from one production lot to the next is felt.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.training.dataset.grounds import Grounds
from inspector.training.dataset.spill import Spill
from inspector.training.defects.drawing import DefectKind
from inspector.training.defects.planting import plant
from inspector.training.heads.base import TrialParts
from inspector.vision.images.preparation import Preparation, crop_of, prepare

Canvas = NDArray[np.uint8]

CHOOSING_FROM = 50
"""Fewer images leave fewer than ten clean ones, too few to tell anything by."""
TRIAL_IMAGES = 128
"""Most images that a trial head learns from."""
PLANTED = 200
MOST_PER_IMAGE = 10
"""Most defects drawn on one image, in copies of their own: more on the same image tell little more."""
PLANTED_BYTES = 512 * 2**20
"""Most bytes of canvases with drawn defects."""
SIZES = (0.02, 0.19)
"""Length of a drawn defect as shares of the longer side of what is looked at; logarithmically spread."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing chosen. `evidence`: each candidate with its AUROC of drawn defects, empty where nothing was tried."""

    what: str
    chosen: str
    evidence: dict[str, float]
    reason: str

    def to_manifest(self) -> dict[str, Any]:
        rounded = {name: round(value, 4) for name, value in self.evidence.items()}
        return {"what": self.what, "chosen": self.chosen, "evidence": rounded, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class TrialImages:
    """Indices of the images to learn from and of those to judge, disjoint, in file order."""

    learnt: list[int]
    clean: list[int]


@dataclass(frozen=True, slots=True)
class Trial:
    """Canvases of one preparation, uint8 [Hc, Wc, 3] each, and which of them are for what."""

    canvases: Sequence[Canvas]
    parts: TrialParts


def usable_images(count: int, calibrating: Iterable[int]) -> list[int]:
    """Which of `count` images a choice may look at: those that calibrate no candidate."""
    return sorted(set(range(count)) - set(calibrating))


def trial_images(usable: Sequence[int]) -> TrialImages | None:
    """The last fifth is judged, the others are learnt from, at most `TRIAL_IMAGES`. None where they are too few."""
    if len(usable) < CHOOSING_FROM:
        return None
    clean_count = len(usable) // 5
    rest, clean = usable[:-clean_count], usable[-clean_count:]
    learnt = [rest[row] for row in np.unique(np.linspace(0, len(rest) - 1, TRIAL_IMAGES).round().astype(int))]
    return TrialImages(learnt, list(clean))


def prepared_trial(
    images: TrialImages, grounds: Grounds, preparation: Preparation, scratch: Path | None = None
) -> Trial:
    """The images as a head of this preparation sees them. Same images, same defects, whatever the preparation.

    `scratch`: folder for the canvases, None for the system's place.
    """
    kept = Spill(scratch)
    for ground in grounds.of([*images.learnt, *images.clean], preparation):
        kept.append(prepare(ground.pixels, preparation))
    learnt, clean = range(len(images.learnt)), range(len(images.learnt), len(kept))
    room = max(len(DefectKind), PLANTED_BYTES // (3 * math.prod(preparation.canvas)))
    of_each = min(MOST_PER_IMAGE, -(-min(PLANTED, room) // max(1, len(clean))))
    for number, ground in enumerate(grounds.of(images.clean, preparation)):
        for frame in _planted(ground.pixels, preparation, number, of_each):
            kept.append(prepare(frame, preparation))
    return Trial(kept, TrialParts(learnt, clean, range(clean.stop, len(kept))))


def _planted(pixels: Canvas, preparation: Preparation, number: int, count: int) -> list[Canvas]:
    """Copies with one defect each, within what is looked at; copies on which none can be seen are left out."""
    rows, columns = crop_of(pixels.shape[0], pixels.shape[1], preparation)
    longer = max(rows.stop - rows.start, columns.stop - columns.start)
    kinds = list(DefectKind)
    frames = []
    for copy in range(count):
        rng = np.random.default_rng([number, copy])
        size_px = longer * math.exp(rng.uniform(*np.log(SIZES)))
        at = (int(rng.integers(columns.start, columns.stop)), int(rng.integers(rows.start, rows.stop)))
        drawn = plant(kinds[(number * count + copy) % len(kinds)], pixels, size_px, rng, at)
        if drawn is not None:
            frames.append(drawn[0])
    return frames
