"""Which head a product gets with `--head auto`: by good images alone, with a preference for the prototype head.

Each head is tried. Fitted on good images, it judges others, the last fifth in file order, as they are and with the
same drawn defects; none of them calibrates a head. What tells drawn from clean is measured as AUROC. A rival must lead
clearly, since drawn defects are small and prefer sharp heads where real ones need deep ones (docs/experiments.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inspector.errors import UndecodableFrame
from inspector.stream.decode import DecodeLimits, decode
from inspector.training.choice.exposure import CHOOSING_FROM, TRIAL_IMAGES, Choice
from inspector.training.dataset.folders import ImageSource
from inspector.training.dataset.gathering import Progress
from inspector.training.dataset.spill import Spill
from inspector.training.defects.drawing import DefectKind
from inspector.training.defects.planting import Ground, plant
from inspector.training.heads.fitted import SPLIT_FROM
from inspector.training.heads.passes import Passes
from inspector.training.heads.prototype import HeadFitter, held_out, spread_of
from inspector.training.heads.recipes import Recipe
from inspector.training.heads.student import Apprenticeship, Split, split
from inspector.training.heads.student_plan import TrainingPlan
from inspector.training.statistics.ranking import image_auroc
from inspector.vision.engines.protocols import Engine
from inspector.vision.heads.prototype import usual, worst
from inspector.vision.images.preparation import Preparation, crop_of, prepare

AUTO = "auto"
DEFAULT = "prototype"
RIVALS = ("protoad", "student")
LEAST_LEAD = 0.1
"""Of AUROC of drawn defects: a rival that leads by less wins by sharpness alone. The student leads by 0.00 to 0.07 on
each product measured, whether or not it is the better head on real defects."""
STEPS_SHARE = 0.25
"""A trial student trains for so much of its steps: it tells defects nearly as well as a finished one."""
PLANTED = 200
MOST_PER_IMAGE = 10
PLANTED_BYTES = 512 * 2**20
SIZES = (0.02, 0.19)
"""Length of a drawn defect as shares of the longer side of what is looked at; logarithmically spread."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Canvases of one preparation, in this order: images to learn from, clean ones, the same with drawn defects."""

    canvases: Sequence[NDArray[np.uint8]]
    learnt: range
    clean: range
    planted: range


@dataclass(frozen=True, slots=True)
class Lot:
    """What all heads are tried on. `learnt` and `clean` are disjoint; `scratch`: folder for temporary files."""

    learnt: Sequence[ImageSource]
    clean: Sequence[ImageSource]
    limits: DecodeLimits
    scratch: Path | None = None

    def prepared(self, preparation: Preparation) -> Trial:
        """As a head with this preparation sees them. Same images, same defects, whatever the preparation.

        Images that can't be read any more are left out.
        """
        kept = Spill(self.scratch)
        for source in self.learnt:
            self._append(kept, source, preparation)
        learnt = range(len(kept))
        grounds = [source for source in self.clean if self._append(kept, source, preparation)]
        clean = range(learnt.stop, len(kept))
        room = max(len(DefectKind), PLANTED_BYTES // (3 * math.prod(preparation.canvas)))
        of_each = min(MOST_PER_IMAGE, -(-min(PLANTED, room) // max(1, len(grounds))))
        for number, source in enumerate(grounds):
            ground = Ground.of(decode(source.read(), self.limits), preparation)
            for frame in _planted(ground.pixels, preparation, number, of_each):
                kept.append(prepare(frame, preparation))
        return Trial(kept, learnt, clean, range(clean.stop, len(kept)))

    def _append(self, kept: Spill, source: ImageSource, preparation: Preparation) -> bool:
        """Whether it could be read again."""
        try:
            pixels = decode(source.read(), self.limits)
        except (OSError, UndecodableFrame):
            return False
        kept.append(prepare(Ground.of(pixels, preparation).pixels, preparation))
        return True


def _planted(pixels: NDArray[np.uint8], preparation: Preparation, number: int, count: int) -> list[NDArray[np.uint8]]:
    """Copies with one defect each, within what is looked at; those where none can be seen left out."""
    rows, columns = crop_of(pixels.shape[0], pixels.shape[1], preparation)
    longer = max(rows.stop - rows.start, columns.stop - columns.start)
    kinds = list(DefectKind)
    found = []
    for copy in range(count):
        rng = np.random.default_rng([number, copy])
        size_px = longer * math.exp(rng.uniform(*np.log(SIZES)))
        at = (int(rng.integers(columns.start, columns.stop)), int(rng.integers(rows.start, rows.stop)))
        drawn = plant(kinds[(number * count + copy) % len(kinds)], pixels, size_px, rng, at)
        if drawn is not None:
            found.append(drawn[0])
    return found


def lot_of(sources: Sequence[ImageSource], limits: DecodeLimits, scratch: Path | None) -> Lot | None:
    """The images that calibrate no head, whichever is taken: most to learn from, the last fifth apart.

    `sources`: in file order. None where they are too few to tell anything by.
    """
    count = len(sources)
    is_apart = np.zeros(count, np.bool_)
    if count >= SPLIT_FROM:
        is_apart |= held_out(count)
    is_apart[split(count).calibrating] = True
    usable = np.flatnonzero(~is_apart).tolist()
    if len(usable) < CHOOSING_FROM:
        return None
    clean = usable[-(len(usable) // 5) :]
    rest = usable[: -len(clean)]
    learnt = [rest[i] for i in np.unique(np.linspace(0, len(rest) - 1, TRIAL_IMAGES).round().astype(int))]
    return Lot([sources[i] for i in learnt], [sources[i] for i in clean], limits, scratch)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A head that could be enrolled, with its pass. `recipe`: as it would be enrolled."""

    recipe: Recipe
    passes: Passes


def choose_head(
    candidates: Sequence[Candidate], lot: Lot, engine: Engine, plan: TrainingPlan, progress: Progress
) -> Choice:
    """The first candidate is taken unless another leads it by `LEAST_LEAD`."""
    found: dict[str, float] = {}
    trials: dict[Preparation, Trial] = {}
    for candidate in candidates:
        recipe = candidate.recipe
        if recipe.preparation not in trials:
            trials[recipe.preparation] = lot.prepared(recipe.preparation)
        trial = trials[recipe.preparation]
        if recipe.student is None:
            scores = _prototype_scores(candidate, trial, engine, progress)
        else:
            scores = _student_scores(candidate, trial, engine, plan, progress)
        clean, planted = scores[: len(trial.clean)], scores[len(trial.clean) :]
        told = image_auroc(clean, planted)
        found[recipe.head] = 0.5 if told is None else told
    reason = (
        f"AUROC of {len(trial.planted)} drawn defects against {len(trial.clean)} good images of the last lot, heads of "
        f"{len(trial.learnt)} others; {candidates[0].recipe.head} stays unless another leads it by {LEAST_LEAD:g}"
    )
    return Choice("head", leading(found), found, reason)


def leading(found: Mapping[str, float], least_lead: float = LEAST_LEAD) -> str:
    """The first head, or the best of the others where that leads it by enough."""
    first, *others = found
    best = max(others, key=found.__getitem__, default=first)
    return best if found[best] >= found[first] + least_lead else first


def _prototype_scores(candidate: Candidate, trial: Trial, engine: Engine, progress: Progress) -> NDArray[np.float64]:
    """Of the clean images, then of those with a defect. Banks in units of their spread on the clean ones."""
    recipe = candidate.recipe.deciding
    passes = candidate.passes
    fitter = HeadFitter(recipe, passes.graph, engine, trial.canvases, passes.embedder)
    fitter.sample(trial.learnt, progress)
    members = fitter.fit(trial.learnt)
    scores = fitter.scores(fitter.measure(members, [*trial.clean, *trial.planted], progress))  # [members, images]
    clean = scores[:, : len(trial.clean)]
    scaled = [
        replace(member, score_usual=float(np.median(each)), score_unit=spread_of(each))
        for member, each in zip(members, clean, strict=True)
    ]
    return np.array([worst(scaled, dict(enumerate(image.tolist())), usual(scaled)) for image in scores.T])


def _student_scores(
    candidate: Candidate, trial: Trial, engine: Engine, plan: TrainingPlan, progress: Progress
) -> NDArray[np.float64]:
    """The same of a student whose training is shortened; its levels get their units from images that stop it."""
    learnt = np.array(trial.learnt)
    is_checking = held_out(len(learnt))
    parts = Split(learnt[~is_checking].tolist(), learnt[is_checking].tolist(), [*trial.clean, *trial.planted])
    passes = candidate.passes
    apprenticeship = Apprenticeship(
        candidate.recipe, passes.graph, engine, trial.canvases, passes.square_embedder, parts
    )
    weights = apprenticeship.train(replace(plan, steps=max(1, round(STEPS_SHARE * plan.steps))), progress, _ignored)
    return np.array([judgement.score for _, judgement in apprenticeship.judged(weights, progress)])


def _ignored(_phase: str) -> None:
    return None
