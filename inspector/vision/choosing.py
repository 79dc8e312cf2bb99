"""What a product chooses for itself, by good images alone: its exposure, and which optional banks decide.

Defects are drawn on a lot of good images that the trial heads never saw, the last fifth in file order, so that
a shift between lots is felt. What tells drawn from clean images better is chosen, and the evidence stands in
the manifest. A free choice among all blends is not made so: over six products small drawn defects prefer the
sharpest bank where real ones need the deepest (docs/experiments.md), so a bank may only join those that decide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from inspector.errors import UsageError
from inspector.vision.fitting import HeadFitter, spread_of
from inspector.vision.gathering import Progress
from inspector.vision.metrics import image_auroc
from inspector.vision.preprocessing import Exposure, Preparation, normalise_exposure
from inspector.vision.recipes import MemberRecipe, Recipe
from inspector.vision.synthetic import DefectKind, draw

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
"""Frames stay as they are unless normalising finds more by so much AUROC: it takes away what brightness tells."""
VETO = 0.03
"""An optional bank that trails by more would drag the blend down; by less it adds another view."""


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
    known: dict[str, Exposure | None] = {"auto": None, "as_is": "as_is", "normalised": "normalised"}
    if text not in known:
        raise UsageError(f"There is no exposure {text!r}; choose one of {', '.join(known)}.")
    return known[text]


class Exposed(Sequence[Canvas]):
    """Prepared canvases brought to one exposure as they are read. `canvases`: prepared as they are."""

    def __init__(self, canvases: Sequence[Canvas], preparation: Preparation) -> None:
        self._canvases = canvases
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
        return normalise_exposure(self._canvases[index], is_masked=self._is_masked)


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
    """`recipe` with an exposure, and without the optional members that gain nothing here.

    `canvases`: prepared as they are, or at `exposure` where that is given; `usable`: which of them may be looked at,
    in file order (none that calibrates). `fitter_of`: a fitter of `recipe.deciding` on canvases.
    """
    if len(usable) < CHOOSING_FROM:
        return _unchosen(recipe, exposure, f"{len(usable)} images are too few to choose by, {CHOOSING_FROM} are needed")
    lot_size = len(usable) // 5
    lot, rest = list(usable[-lot_size:]), list(usable[:-lot_size])
    learnt = [rest[i] for i in np.unique(np.linspace(0, len(rest) - 1, TRIAL_IMAGES).round().astype(int))]
    planted = _planted([canvases[i] for i in lot], recipe.preparation.size_px)
    if not planted:
        return _unchosen(recipe, exposure, "no defect could be drawn so that it shows")
    trial = _Trial([canvases[i] for i in learnt], [canvases[i] for i in lot], planted)
    found = {exposure or "as_is": _found(trial, trial.inputs, fitter_of, progress)}
    choices: list[Choice] = []
    if exposure is None:
        found["normalised"] = _found(trial, Exposed(trial.inputs, recipe.preparation), fitter_of, progress)
        exposure, choice = _choose_exposure(found, trial)
        choices.append(choice)
    members = list(recipe.members)
    deciding = recipe.deciding.members
    base = found[exposure].blended([i for i, member in enumerate(deciding) if not member.is_optional])
    for index, member in enumerate(deciding):
        if member.is_optional:
            choice = _choose_member(member, base, found[exposure].alone[index])
            choices.append(choice)
            if choice.chosen == "no":
                members.remove(member)
    return Chosen(_with(recipe, exposure, members), tuple(choices))


def _unchosen(recipe: Recipe, exposure: Exposure | None, reason: str) -> Chosen:
    choices = [] if exposure is not None else [Choice("exposure", "as_is", {}, reason)]
    choices += [Choice(_named(member), "no", {}, reason) for member in recipe.members if member.is_optional]
    members = [member for member in recipe.members if not member.is_optional]
    return Chosen(_with(recipe, exposure or "as_is", members), tuple(choices))


def _with(recipe: Recipe, exposure: Exposure, members: Sequence[MemberRecipe]) -> Recipe:
    return replace(recipe, preparation=replace(recipe.preparation, exposure=exposure), members=tuple(members))


def _choose_exposure(found: Mapping[Exposure, _Found], trial: _Trial) -> tuple[Exposure, Choice]:
    means: dict[str, float] = {name: float(np.mean(each.alone)) for name, each in found.items()}
    chosen: Exposure = "normalised" if means["normalised"] >= means["as_is"] + LEAST_GAIN else "as_is"
    reason = (
        f"AUROC of {len(trial.planted)} drawn defects against {len(trial.clean)} good images of the last lot, mean "
        f"over the banks; frames stay as they are unless one exposure gains {LEAST_GAIN:g}"
    )
    return chosen, Choice("exposure", chosen, means, reason)


def _choose_member(member: MemberRecipe, base: float, alone: float) -> Choice:
    reason = (
        "AUROC of the same drawn defects; the bank stays out where alone it finds less than those that always decide "
        f"by more than {VETO:g}"
    )
    return Choice(_named(member), "yes" if alone >= base - VETO else "no", {"alone": alone, "others": base}, reason)


def _named(member: MemberRecipe) -> str:
    return f"strides {'+'.join(map(str, member.embedding.strides))} in the decision"


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


@dataclass(frozen=True, slots=True)
class _Found:
    """Image scores of a trial's banks, float64 [members, images]; `alone`: the AUROC of each."""

    clean: NDArray[np.float64]
    planted: NDArray[np.float64]
    alone: list[float]

    def blended(self, which: Sequence[int]) -> float:
        """AUROC of the sum of these banks' scores in units of their spread on clean images."""
        spread = np.array([spread_of(self.clean[i]) for i in which])[:, None]
        return _auroc((self.clean[which] / spread).sum(axis=0), (self.planted[which] / spread).sum(axis=0))


def _auroc(clean: NDArray[np.float64], planted: NDArray[np.float64]) -> float:
    told = image_auroc(clean, planted)
    return 0.5 if told is None else told


def _found(
    trial: _Trial,
    inputs: Sequence[Canvas],
    fitter_of: Callable[[Sequence[Canvas]], HeadFitter],
    progress: Progress,
) -> _Found:
    fitter = fitter_of(inputs)
    learnt = range(len(trial.learnt))
    clean = range(len(learnt), len(learnt) + len(trial.clean))
    planted = range(clean.stop, len(inputs))
    fitter.sample(learnt, progress)
    members = fitter.fit(learnt)
    of_clean = fitter.scores(fitter.measure(members, clean, progress))
    of_planted = fitter.scores(fitter.measure(members, planted, progress))
    return _Found(of_clean, of_planted, [_auroc(good, bad) for good, bad in zip(of_clean, of_planted, strict=True)])
