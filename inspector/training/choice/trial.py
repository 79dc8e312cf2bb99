"""Trials that compare exposures, or heads, on good images that no candidate learns from, clean and with drawn defects.

Every choice uses the same images, the same budget and the same kind of trial. None of the images calibrates a deployed
head. The clean images are the last in file order, so that a change between production lots counts.

An enrolment chooses an exposure so; `benchmarks.head_choice` tries heads. Heads may want different canvases of a
frame, so their defects are drawn on the frame and prepared with it. Exposures differ only in what is done to a canvas,
so their defects are drawn on the canvas, at the resolution that the head sees. Finer strokes make `normalised` and
`levelled` equally good: with defects drawn on the frame, two of six products changed their exposure.
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
from inspector.training.defects.drawing import DefectKind, draw
from inspector.training.defects.planting import plant
from inspector.training.heads.base import TrialParts
from inspector.vision.images.preparation import Preparation, crop_of, prepare

Canvas = NDArray[np.uint8]

CHOOSING_FROM = 50
"""Fewest images that can choose: fewer would leave fewer than ten clean images, too few to compare by."""
TRIAL_IMAGES = 128
"""Largest number of images that a trial head learns from."""
PLANTED = 200
MOST_PER_IMAGE = 10
"""Largest number of defects drawn on one image, each on its own copy. More on the same image would tell little more."""
PLANTED_BYTES = 512 * 2**20
"""Largest number of bytes of canvases with drawn defects. Two defects of each kind are drawn even beyond it."""
SIZES = (0.02, 0.19)
"""Shortest and longest drawn defect, as shares of the picture's longer side; lengths are spread logarithmically."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The result of a choice. `evidence`: each candidate with its AUROC of drawn defects, empty without a trial."""

    what: str
    chosen: str
    evidence: dict[str, float]
    reason: str

    def to_manifest(self) -> dict[str, Any]:
        rounded = {name: round(value, 4) for name, value in self.evidence.items()}
        return {"what": self.what, "chosen": self.chosen, "evidence": rounded, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class TrialImages:
    """Indices of the images to learn from and of the images to judge, disjoint, in file order."""

    learnt: list[int]
    clean: list[int]


@dataclass(frozen=True, slots=True)
class Trial:
    """Canvases of one preparation, uint8 [Hc, Wc, 3] each, and the part of the trial that each belongs to."""

    canvases: Sequence[Canvas]
    parts: TrialParts


def usable_images(count: int, calibrating: Iterable[int]) -> list[int]:
    """The indices among `count` images that a choice may use: the images that calibrate no candidate."""
    return sorted(set(range(count)) - set(calibrating))


def trial_images(usable: Sequence[int]) -> TrialImages | None:
    """The images of a trial: the last fifth is judged, at most `TRIAL_IMAGES` others are learnt. None if too few."""
    if len(usable) < CHOOSING_FROM:
        return None
    clean_count = len(usable) // 5
    rest, clean = usable[:-clean_count], usable[-clean_count:]
    learnt = [rest[row] for row in np.unique(np.linspace(0, len(rest) - 1, TRIAL_IMAGES).round().astype(int))]
    return TrialImages(learnt, list(clean))


def canvas_trial(images: TrialImages, canvases: Sequence[Canvas], size_px: int, scratch: Path | None = None) -> Trial:
    """A trial with defects drawn on prepared canvases. `canvases`: those of the whole set; `size_px`: the input's side.

    `scratch`: folder for the canvases, None for the system's place.
    """
    kept = Spill(scratch)
    for image in (*images.learnt, *images.clean):
        kept.append(canvases[image])
    clean = [canvases[image] for image in images.clean]
    rng = np.random.default_rng(0)
    kinds = list(DefectKind)
    for number in range(_planted_count(len(clean), clean[0].nbytes)):
        length = max(1.0, size_px * _drawn_share(rng))
        drawn = draw(kinds[number % len(kinds)], clean[number // len(kinds) % len(clean)], length, rng)
        if drawn.mask.any():
            kept.append(drawn.image)
    return _trial(images, kept)


def frame_trial(images: TrialImages, grounds: Grounds, preparation: Preparation, scratch: Path | None = None) -> Trial:
    """A trial with defects drawn on frames, which are then prepared. Every preparation gets the same defects.

    `scratch`: as in `canvas_trial`.
    """
    kept = Spill(scratch)
    for ground in grounds.of([*images.learnt, *images.clean], preparation):
        kept.append(prepare(ground.pixels, preparation))
    of_each = -(-_planted_count(len(images.clean), 3 * math.prod(preparation.canvas)) // len(images.clean))
    for number, ground in enumerate(grounds.of(images.clean, preparation)):
        for frame in _planted(ground.pixels, preparation, number, of_each):
            kept.append(prepare(frame, preparation))
    return _trial(images, kept)


def _trial(images: TrialImages, canvases: Sequence[Canvas]) -> Trial:
    learnt = range(len(images.learnt))
    clean = range(learnt.stop, learnt.stop + len(images.clean))
    return Trial(canvases, TrialParts(learnt, clean, range(clean.stop, len(canvases))))


def _planted_count(clean: int, canvas_bytes: int) -> int:
    """Number of defects to draw on `clean` images."""
    return min(PLANTED, MOST_PER_IMAGE * clean, max(2 * len(DefectKind), PLANTED_BYTES // canvas_bytes))


def _drawn_share(rng: np.random.Generator) -> float:
    return math.exp(rng.uniform(*np.log(SIZES)))


def _planted(pixels: Canvas, preparation: Preparation, number: int, count: int) -> list[Canvas]:
    """Copies with one defect each, inside the region of interest. Copies with an invisible defect are left out."""
    rows, columns = crop_of(pixels.shape[0], pixels.shape[1], preparation)
    longer = max(rows.stop - rows.start, columns.stop - columns.start)
    kinds = list(DefectKind)
    frames = []
    for copy in range(count):
        rng = np.random.default_rng([number, copy])
        size_px = longer * _drawn_share(rng)
        at = (int(rng.integers(columns.start, columns.stop)), int(rng.integers(rows.start, rows.stop)))
        drawn = plant(kinds[(number * count + copy) % len(kinds)], pixels, size_px, rng, at)
        if drawn is not None:
            frames.append(drawn[0])
    return frames
