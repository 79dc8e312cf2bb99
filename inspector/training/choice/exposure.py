"""What a product chooses for itself, by good images alone: its exposure.

Defects are drawn on a lot of good images that the trial heads never saw, the last fifth in file order, so that
a shift between lots is felt. What tells drawn from clean images better is chosen, and the evidence stands in
the manifest. A free choice among all blends is not made so: over six products small drawn defects prefer the
sharpest bank where real ones need the deepest (docs/experiments.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from inspector.errors import UsageError
from inspector.training.dataset.gathering import Progress
from inspector.training.defects.drawing import DefectKind, draw
from inspector.training.heads.prototype import HeadFitter
from inspector.training.heads.recipes import Recipe
from inspector.training.statistics.ranking import image_auroc
from inspector.vision.images.exposure import Exposure, expose
from inspector.vision.images.preparation import Preparation

Canvas = NDArray[np.uint8]

CHOOSING_FROM = 50
"""Fewer images leave a lot of less than ten, too small to tell anything by."""
TRIAL_IMAGES = 128
PLANTED = 200
PLANTED_PER_IMAGE = 10
"""More on one good image tells little more: a small lot costs less."""
PLANTED_BYTES = 256 * 2**20
SIZES = (0.02, 0.19)
"""Length of a drawn defect as shares of the input side; logarithmically spread."""
LEAST_GAIN = 0.01
"""Frames stay as they are unless changing them finds more by so much AUROC: it takes away what brightness tells."""
EXPOSURES: tuple[Exposure, ...] = ("as_is", "normalised", "levelled")
"""From the one that changes least."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing chosen. `evidence`: each candidate with its AUROC of drawn defects, empty where nothing was tried."""

    what: str
    chosen: str
    evidence: Mapping[str, float]
    reason: str

    def to_manifest(self) -> dict[str, Any]:
        rounded = {name: round(value, 4) for name, value in self.evidence.items()}
        return {"what": self.what, "chosen": self.chosen, "evidence": rounded, "reason": self.reason}


def parse_exposure(text: str) -> Exposure | None:
    """As a person writes it; None where the good images choose. Raises UsageError."""
    known: dict[str, Exposure | None] = {"auto": None, **{name: name for name in EXPOSURES}}
    if text not in known:
        raise UsageError(f"There is no exposure {text!r}; choose one of {', '.join(known)}.")
    return known[text]


class Exposed(Sequence[Canvas]):
    """Prepared canvases brought to one exposure as they are read. `canvases`: prepared as they are."""

    def __init__(self, canvases: Sequence[Canvas], preparation: Preparation, exposure: Exposure) -> None:
        self._canvases = canvases
        self._exposure = exposure
        self._is_masked = preparation.mask is not None

    def __len__(self) -> int:
        return len(self._canvases)

    @overload
    def __getitem__(self, index: int) -> Canvas: ...
    @overload
    def __getitem__(self, index: slice) -> list[Canvas]: ...
    def __getitem__(self, index: int | slice) -> Canvas | list[Canvas]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return expose(self._canvases[index], self._exposure, is_masked=self._is_masked)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The recipe as this product wants it, and why."""

    recipe: Recipe
    choices: tuple[Choice, ...]


def choose(
    recipe: Recipe,
    canvases: Sequence[Canvas],
    usable: Sequence[int],
    fitter_of: Callable[[Sequence[Canvas]], HeadFitter],
    progress: Progress,
    *,
    exposure: Exposure | None = None,
) -> Chosen:
    """`recipe` with the exposure that tells drawn defects best, or the one that is given.

    `canvases`: prepared as they are, or at `exposure` where that is given; `usable`: which of them may be looked at,
    in file order (none that calibrates). `fitter_of`: a fitter of `recipe.deciding` on canvases.
    """
    if exposure is not None:
        return Chosen(_with(recipe, exposure), ())
    if len(usable) < CHOOSING_FROM:
        return _unchosen(recipe, f"{len(usable)} images are too few to choose by, {CHOOSING_FROM} are needed")
    lot_size = len(usable) // 5
    lot, rest = list(usable[-lot_size:]), list(usable[:-lot_size])
    learnt = [rest[i] for i in np.unique(np.linspace(0, len(rest) - 1, TRIAL_IMAGES).round().astype(int))]
    planted = _planted([canvases[i] for i in lot], recipe.preparation.size_px)
    if not planted:
        return _unchosen(recipe, "no defect could be drawn so that it shows")
    trial = _Trial([canvases[i] for i in learnt], [canvases[i] for i in lot], planted)
    found = {
        each: _told(trial, Exposed(trial.inputs, recipe.preparation, each), fitter_of, progress) for each in EXPOSURES
    }
    choice = _choose_exposure(found, trial)
    return Chosen(_with(recipe, choice[0]), (choice[1],))


def _unchosen(recipe: Recipe, reason: str) -> Chosen:
    return Chosen(_with(recipe, "as_is"), (Choice("exposure", "as_is", {}, reason),))


def _with(recipe: Recipe, exposure: Exposure) -> Recipe:
    return replace(recipe, preparation=replace(recipe.preparation, exposure=exposure))


def _choose_exposure(found: Mapping[Exposure, float], trial: _Trial) -> tuple[Exposure, Choice]:
    best = max(found, key=found.__getitem__)
    chosen: Exposure = best if found[best] >= found["as_is"] + LEAST_GAIN else "as_is"
    reason = (
        f"AUROC of {len(trial.planted)} drawn defects against {len(trial.clean)} good images of the last lot, mean "
        f"over the banks; frames stay as they are unless another exposure gains {LEAST_GAIN:g}"
    )
    return chosen, Choice("exposure", chosen, {str(name): told for name, told in found.items()}, reason)


@dataclass(frozen=True, slots=True)
class _Trial:
    learnt: list[Canvas]
    clean: list[Canvas]
    planted: list[Canvas]

    @property
    def inputs(self) -> list[Canvas]:
        return [*self.learnt, *self.clean, *self.planted]


def _planted(lot: Sequence[Canvas], size_px: int) -> list[Canvas]:
    """Copies of these canvases with one defect each, all kinds alike; those where none can be seen left out."""
    rng = np.random.default_rng(0)
    count = min(PLANTED, PLANTED_PER_IMAGE * len(lot), max(len(DefectKind) * 2, PLANTED_BYTES // lot[0].nbytes))
    kinds = list(DefectKind)
    found = []
    for number in range(count):
        length = size_px * math.exp(rng.uniform(*np.log(SIZES)))
        drawn = draw(kinds[number % len(kinds)], lot[number // len(kinds) % len(lot)], max(1.0, length), rng)
        if drawn.mask.any():
            found.append(drawn.image)
    return found


def _auroc(clean: NDArray[np.float64], planted: NDArray[np.float64]) -> float:
    told = image_auroc(clean, planted)
    return 0.5 if told is None else told


def _told(
    trial: _Trial,
    inputs: Sequence[Canvas],
    fitter_of: Callable[[Sequence[Canvas]], HeadFitter],
    progress: Progress,
) -> float:
    """The mean AUROC of drawn against clean over the banks that decide, of a head fitted on what the trial learns."""
    fitter = fitter_of(inputs)
    learnt = range(len(trial.learnt))
    clean = range(len(learnt), len(learnt) + len(trial.clean))
    planted = range(clean.stop, len(inputs))
    fitter.sample(learnt, progress)
    members = fitter.fit(learnt)
    of_clean = fitter.scores(fitter.measure(members, clean, progress))
    of_planted = fitter.scores(fitter.measure(members, planted, progress))
    return float(np.mean([_auroc(good, bad) for good, bad in zip(of_clean, of_planted, strict=True)]))
