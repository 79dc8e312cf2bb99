"""Chooses a product's exposure: the one whose trial head tells drawn defects from clean images best.

Frames stay as they are unless another exposure is clearly better. Blends of banks are not chosen in this way: over six
products, small drawn defects prefer the sharpest bank where real defects need the deepest (docs/experiments.md).
"""

from __future__ import annotations

from dataclasses import replace

from inspector.errors import UsageError
from inspector.training.choice.trial import CHOOSING_FROM, Choice, Trial
from inspector.training.dataset.exposed import Exposed
from inspector.training.heads.base import FittingInputs, HeadRecipe
from inspector.vision.images.exposure import Exposure

LEAST_GAIN = 0.015
"""The AUROC that another exposure must gain, because it removes what the brightness would tell."""
EXPOSURES: tuple[Exposure, ...] = ("as_is", "normalised", "levelled")
"""All exposures; the one that changes the frame least comes first."""

CANDIDATES: tuple[Exposure, ...] = ("as_is", "levelled")
"""Those among which the good images choose. Drawn defects can't tell `normalised` from `levelled`: they tie on all four
products that gain by either, where real defects are told as well or better with `levelled` (docs/measurements.md)."""


def parse_exposure(text: str) -> Exposure | None:
    """The exposure that a person wrote; None where the good images choose. Raises UsageError."""
    known: dict[str, Exposure | None] = {"auto": None, **{name: name for name in EXPOSURES}}
    if text not in known:
        raise UsageError(f"There is no exposure {text!r}; choose one of {', '.join(known)}.")
    return known[text]


def choose_exposure(judge: HeadRecipe, trial: Trial, inputs: FittingInputs) -> tuple[Exposure, Choice]:
    """`judge`: the recipe whose trials decide. `trial`: its canvases, prepared `as_is`; `inputs` brings the rest."""
    if not trial.parts.planted:
        return unchosen_exposure("no defect could be drawn so that it shows")
    evidence: dict[Exposure, float] = {}
    for exposure in CANDIDATES:
        canvases = Exposed(trial.canvases, judge.preparation, exposure)
        evidence[exposure] = judge.judge_trial(replace(inputs, canvases=canvases), trial.parts).mean_auroc_of_views
    best = max(evidence, key=evidence.__getitem__)
    chosen: Exposure = best if evidence[best] >= evidence["as_is"] + LEAST_GAIN else "as_is"
    reason = (
        f"AUROC of {len(trial.parts.planted)} drawn defects against {len(trial.parts.clean)} good images from the end "
        f"of the set, mean over the banks; frames stay as they are unless another exposure gains {LEAST_GAIN:g}"
    )
    return chosen, Choice("exposure", chosen, {str(name): auroc for name, auroc in evidence.items()}, reason)


def unchosen_exposure(reason: str) -> tuple[Exposure, Choice]:
    """The choice to leave frames as they are, with the reason."""
    return "as_is", Choice("exposure", "as_is", {}, reason)


def too_few(count: int) -> str:
    """The reason why `count` images are too few to choose by."""
    return f"{count} images are too few to choose by, {CHOOSING_FROM} are needed"
