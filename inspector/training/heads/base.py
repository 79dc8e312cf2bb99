"""Protocol of a head's recipe, which is all that an enrolment needs of a head.

`enrol` and the choices know this protocol alone. A recipe says what the head reads, how the head is fitted, and how it
judges drawn defects when exposures are compared; `factory` finds a recipe by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from inspector.training.dataset.gathering import Progress
from inspector.training.heads.passes import Passes
from inspector.training.heads.student_plan import TrainingPlan
from inspector.training.statistics.ranking import image_auroc
from inspector.vision.artifacts.calibration import Calibration
from inspector.vision.artifacts.format import MapScale
from inspector.vision.engines.protocols import Engine
from inspector.vision.heads.base import HeadModel, Judgement
from inspector.vision.images.preparation import Preparation
from inspector.vision.networks.graphs import Embedding

Canvas = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A head with its threshold and the scale of its map. `judged`: the images that calibrated it, with judgements."""

    model: HeadModel
    calibration: Calibration
    map_scale: MapScale
    judged: list[tuple[int, Judgement]]


@dataclass(frozen=True, slots=True)
class FittingInputs:
    """The inputs for fitting a head.

    `canvases`: the prepared images, uint8 [Hc, Wc, 3] each, named by their index; `passes`: the passes of the recipe;
    `plan`: the plan for heads that are trained in steps. `phase_ended` is called with the name of a phase at its end.
    """

    canvases: Sequence[Canvas]
    passes: Passes
    engine: Engine
    plan: TrainingPlan
    tell: Progress
    phase_ended: Callable[[str], None] = lambda _phase: None


@dataclass(frozen=True, slots=True)
class TrialParts:
    """The parts of a trial's canvases: those to learn from, clean ones to judge, and those with a drawn defect."""

    learnt: range
    clean: range
    planted: range


@dataclass(frozen=True, slots=True)
class TrialScores:
    """Scores by a trial's head, first of the clean canvases, then of the canvases with a defect.

    `decision`: float64 [n], the score that would decide. `views`: float64 [v, n], the scores by each part of the head;
    the decision alone where the head has no parts. `clean`: how many of the n canvases are clean.
    """

    decision: NDArray[np.float64]
    views: NDArray[np.float64]
    clean: int

    @property
    def auroc(self) -> float:
        """AUROC of the decision for canvases with a defect against clean canvases; 0.5 where one kind is missing."""
        return self._auroc(self.decision)

    @property
    def mean_auroc_of_views(self) -> float:
        return float(np.mean([self._auroc(view) for view in self.views]))

    def _auroc(self, scores: NDArray[np.float64]) -> float:
        told = image_auroc(scores[: self.clean], scores[self.clean :])
        return 0.5 if told is None else told


class HeadRecipe(Protocol):
    """One head at one profile, immutable."""

    @property
    def head(self) -> str:
        """The name that a person says and that the manifest keeps."""

    @property
    def profile(self) -> str: ...

    @property
    def preparation(self) -> Preparation: ...

    @property
    def embeddings(self) -> Sequence[Embedding]:
        """The embeddings that the head reads of the backbone, each once."""

    @property
    def is_exposure_chosen(self) -> bool:
        """Whether a product's good images may choose its exposure."""

    def adapted(self, strides: Sequence[int], backbone: str, /) -> Self:
        """The same head on the features that a backbone has. Raises UsageError where it can't use them."""

    def with_preparation(self, preparation: Preparation) -> Self: ...

    @property
    def exposure_judge(self) -> HeadRecipe:
        """The recipe whose trials choose this head's exposure: itself, or a cheaper one of the same preparation.

        The caller adapts the recipe to the backbone.
        """

    def calibrating(self, count: int) -> list[int]:
        """The indices among `count` images that calibrate the deployed head and are not in it; none with cross-fit."""

    def fit(self, inputs: FittingInputs, alpha: float) -> Fitted:
        """The head with its threshold, for a share `alpha` of falsely rejected parts. Deterministic."""

    def judge_trial(self, inputs: FittingInputs, parts: TrialParts) -> TrialScores:
        """Fit a head on the part to learn from, and judge the other two parts. `inputs.canvases`: the trial's."""

    def to_manifest(self, plan: TrainingPlan) -> Mapping[str, Any]:
        """Entries for an audit that say how the head was made, besides the entries of its model."""
