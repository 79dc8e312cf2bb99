"""Chooses a product's head with `--head auto`, by good images alone and with a preference for the default head.

Each head is fitted on the same good images and judges the same other images, clean and with drawn defects. Another head
must lead clearly: drawn defects are small and prefer sharp heads where real defects need deep heads
(docs/experiments.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from inspector.training.choice.trial import Choice, Trial
from inspector.training.heads.base import FittingInputs, HeadRecipe
from inspector.vision.images.preparation import Preparation

LEAST_LEAD = 0.1
"""The lead in AUROC of drawn defects that another head needs: a smaller lead may come from sharpness alone. The student
leads by 0.00 to 0.07 on each product measured, whether or not it is the better head on real defects."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A head that could be enrolled. `recipe`: the recipe to enrol it with. `inputs`: its passes, with any canvases."""

    recipe: HeadRecipe
    inputs: FittingInputs


def choose_head(candidates: Sequence[Candidate], trial_of: Callable[[Preparation], Trial]) -> Choice:
    """The first candidate, unless another candidate leads it by `LEAST_LEAD`. `trial_of`: preparation -> the trial."""
    evidence: dict[str, float] = {}
    trials: dict[Preparation, Trial] = {}
    for candidate in candidates:
        preparation = candidate.recipe.preparation
        trial = trials[preparation] = trials.get(preparation) or trial_of(preparation)
        inputs = replace(candidate.inputs, canvases=trial.canvases)
        evidence[candidate.recipe.head] = candidate.recipe.judge_trial(inputs, trial.parts).auroc
    parts = trial.parts
    reason = (
        f"AUROC of {len(parts.planted)} drawn defects against {len(parts.clean)} good images from the end of the set, "
        f"heads of {len(parts.learnt)} others; {candidates[0].recipe.head} stays unless another leads it by "
        f"{LEAST_LEAD:g}"
    )
    return Choice("head", leading(evidence), evidence, reason)


def leading(evidence: Mapping[str, float], least_lead: float = LEAST_LEAD) -> str:
    """The first head, or the best of the others where that one leads by enough."""
    first, *others = evidence
    best = max(others, key=evidence.__getitem__, default=first)
    return best if evidence[best] >= evidence[first] + least_lead else first
