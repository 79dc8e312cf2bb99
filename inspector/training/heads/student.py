"""The student head: its recipe, and how it is fitted from prepared good images. One split, no cross-fit.

Three disjoint parts: images that train, images that stop the training and give the maps their units, and images that
calibrate, which the deployed head never saw. Torch is loaded only when a student is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from inspector.training.dataset.splitting import held_out
from inspector.training.heads.adapting import ensure_strides, whole_size
from inspector.training.heads.base import Fitted, FittingInputs, TrialParts, TrialScores
from inspector.training.heads.fitted import calibrated
from inspector.training.heads.prototype import PrototypeRecipe, prototype_recipe
from inspector.training.heads.student_plan import TrainingPlan
from inspector.training.heads.teacher_maps import TeacherMaps, look
from inspector.vision.engines.protocols import Patches
from inspector.vision.heads.base import Judgement, Readout
from inspector.vision.heads.student import LevelScale, StudentHead, StudentModel
from inspector.vision.images.preparation import Preparation
from inspector.vision.networks.graphs import Embedding
from inspector.vision.networks.student_graph import LEVELS, STUDENT_EMBEDDINGS, StudentWeights
from inspector.vision.networks.torch_extra import ensure_installed
from inspector.vision.serving.tiling import Squares, join

CALIBRATING = 20
"""This many images are held out for calibration. Of a small set it is a third, of a large set a fifth."""
_Answer = TypeVar("_Answer")
BATCH = 8
TRIAL_STEPS_SHARE = 0.25
"""A trial student trains for this share of its steps: it tells defects nearly as well as a finished one."""


@dataclass(frozen=True, slots=True)
class StudentRecipe:
    """A student: through SNC or not, and the weight of each level in the decision and in the map.

    Implements `base.HeadRecipe`. Its profile is `fine`: its dense convolutions cost more than the pass that they stand
    on. The mean of the highest cells decides better than the maximum of the smoothed map (docs/student.md); the map
    that is shown is smoothed.
    """

    preparation: Preparation = field(default_factory=Preparation)
    is_coded: bool = True
    low_in_decision: float = 0.5
    high_in_decision: float = 0.5
    low_in_map: float = 0.5
    high_in_map: float = 0.5
    top_share: float = 0.03
    sigma_px: float = 4.0

    @property
    def head(self) -> str:
        return "student"

    @property
    def profile(self) -> str:
        return "fine"

    @property
    def embeddings(self) -> tuple[Embedding, ...]:
        return STUDENT_EMBEDDINGS

    @property
    def is_exposure_chosen(self) -> bool:
        return True

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels to train: those with a weight in the decision or in the map."""
        weights = {"low": self.low_in_decision + self.low_in_map, "high": self.high_in_decision + self.high_in_map}
        return tuple(level for level in LEVELS if weights[level])

    @property
    def readout(self) -> Readout:
        return Readout("top_share", self.top_share, self.sigma_px, self.preparation.size_px)

    def adapted(self, strides: Sequence[int], backbone: str, /) -> StudentRecipe:
        """The same recipe. Raises UsageError where a stride of its three maps is missing."""
        ensure_strides(self.head, self.embeddings, strides, backbone)
        size_px = whole_size(self.embeddings, self.preparation.size_px)
        return self.with_preparation(replace(self.preparation, size_px=size_px))

    def with_preparation(self, preparation: Preparation) -> StudentRecipe:
        return replace(self, preparation=preparation)

    @property
    def exposure_judge(self) -> PrototypeRecipe:
        """The cheapest prototype head: to train a student for each exposure would take minutes."""
        return prototype_recipe("fast").with_preparation(self.preparation)

    def calibrating(self, count: int) -> list[int]:
        return split(count).calibrating

    def fit(self, inputs: FittingInputs, alpha: float) -> Fitted:
        return StudentFitter(self, inputs).fit(alpha)

    def judge_trial(self, inputs: FittingInputs, parts: TrialParts) -> TrialScores:
        """Judge by a student that is trained for a share of the steps."""
        learnt = np.array(parts.learnt)
        is_checking = held_out(len(learnt))
        roles = Split(learnt[~is_checking].tolist(), learnt[is_checking].tolist(), [*parts.clean, *parts.planted])
        steps = max(1, round(TRIAL_STEPS_SHARE * inputs.plan.steps))
        # The phases of a trial's training are no phases of the enrolment.
        inputs = replace(inputs, plan=replace(inputs.plan, steps=steps), phase_ended=lambda _phase: None)
        fitter = StudentFitter(self, inputs, roles)
        scores = np.array([judgement.score for _, judgement in fitter.judged(fitter.train())], np.float64)
        return TrialScores(scores, scores[None], len(parts.clean))

    def to_manifest(self, plan: TrainingPlan) -> dict[str, Any]:
        return {"clustering": [], "training": plan.to_manifest()}


def student_recipe(_profile: str, _clustering: None = None) -> StudentRecipe:
    """Raises TorchMissing, before any image is read: a student is trained in torch."""
    ensure_installed("Training a student", "Or take the head prototype.")
    return StudentRecipe()


@dataclass(frozen=True, slots=True)
class Split:
    """Indices of the images that train, that check (and give units), and that calibrate; disjoint."""

    training: list[int]
    checking: list[int]
    calibrating: list[int]


def split(count: int) -> Split:
    """The parts of `count` >= 5 images, none of them empty, each in short runs over the file order."""
    is_held = held_out(count, max(0.2, min(1.0 / 3.0, CALIBRATING / count)))
    rest = np.flatnonzero(~is_held)
    is_checking = held_out(len(rest), 0.2 if len(rest) >= 10 else 1.0 / 3.0)
    return Split(rest[~is_checking].tolist(), rest[is_checking].tolist(), np.flatnonzero(is_held).tolist())


class StudentFitter:
    """Fits one student. A tile is an image to the student, and all tiles of an image stay in one part.

    `parts`: the part of each image, None for the parts that `split` gives.
    """

    def __init__(self, recipe: StudentRecipe, inputs: FittingInputs, parts: Split | None = None) -> None:
        self._recipe = recipe
        embeddings = inputs.passes.graph.embeddings
        stem, low, high = (embeddings.index(item) for item in STUDENT_EMBEDDINGS)
        self._places = (stem, low, high)
        self._engine, self._embedder = inputs.engine, inputs.passes.square_embedder
        self._plan, self._tell, self._phase_ended = inputs.plan, inputs.tell, inputs.phase_ended
        self._count = len(inputs.canvases)
        self._squares = Squares(inputs.canvases, recipe.preparation)
        self._parts = parts or split(self._count)

    def fit(self, alpha: float) -> Fitted:
        """A student with its threshold."""
        fitted = self.finish(self.train(), alpha)
        self._phase_ended("calibration")
        return fitted

    def train(self) -> StudentWeights:
        """Train the student and return its weights. `finish` makes a head of them."""
        seen = self._squares.of(sorted(self._parts.training + self._parts.checking))
        maps = look(self._squares, seen, self._three, lambda done, total: self._tell("teacher maps", done, total))
        self._phase_ended("teacher_maps")
        weights = self._train(maps)
        self._phase_ended("training")
        return weights

    def finish(self, weights: StudentWeights, alpha: float) -> Fitted:
        """A head of these weights: units from the images that stopped the training, threshold from the third part."""
        head, judged = self._judged(weights)
        text = f"{len(judged)} of {self._count} images in runs over the file order, never seen by the student"
        return calibrated(head.model, judged, text, alpha)

    def judged(self, weights: StudentWeights) -> list[tuple[int, Judgement]]:
        """The judgement of a head of these weights on each image of the third part."""
        return self._judged(weights)[1]

    def _judged(self, weights: StudentWeights) -> tuple[StudentHead, list[tuple[int, Judgement]]]:
        head = self._scaled(weights, self._parts.checking)
        return head, self._judge(head, self._parts.calibrating)

    def _three(self, pixels: NDArray[np.uint8]) -> list[Patches]:
        embedded = self._embedder(pixels)
        return [embedded[index] for index in self._places]

    def _train(self, maps: TeacherMaps) -> StudentWeights:
        from inspector.training.heads.student_training import StudentTrainer, Variant, usable_device

        kept = set(maps.indices)
        training = [square for square in self._squares.of(self._parts.training) if square in kept]
        checking = [square for square in self._squares.of(self._parts.checking) if square in kept]
        device = usable_device() if self._engine.name == "torch-cuda" else "cpu"
        variant = Variant(self._recipe.levels, self._recipe.is_coded)
        trainer = StudentTrainer(maps, training, checking, self._plan, variant, device)
        return trainer.run(lambda done, total: self._tell("training", done, total))

    def _scaled(self, weights: StudentWeights, images: Sequence[int]) -> StudentHead:
        """The head with its maps' units, which come from images that did not train it."""
        recipe, unit = self._recipe, LevelScale(0.0, 1.0)
        raw = StudentModel(weights, self._places, unit, unit, recipe.readout)
        measured = self._over(images, "map units", raw.open(self._engine).measure)
        low = scale_of(np.stack([fine for fine, _ in measured]), recipe.low_in_decision, recipe.low_in_map)
        high = scale_of(np.stack([coarse for _, coarse in measured]), recipe.high_in_decision, recipe.high_in_map)
        return replace(raw, low=low, high=high).open(self._engine)

    def _judge(self, head: StudentHead, images: Sequence[int]) -> list[tuple[int, Judgement]]:
        of_squares = self._over(images, "held-out scores", head.judge)
        return list(zip(images, join(of_squares, self._recipe.preparation), strict=True))

    def _over(self, images: Sequence[int], phase: str, work: Callable[[list[Patches]], list[_Answer]]) -> list[_Answer]:
        """The results of `work` for each square of these images, in order."""
        squares = self._squares.of(images)
        answers: list[_Answer] = []
        for start in range(0, len(squares), BATCH):
            batch = squares[start : start + BATCH]
            answers += work(self._embedder(np.stack([self._squares[square] for square in batch])))
            self._tell(phase, start + len(batch), len(squares))
        return answers


ZERO_QUANTILE = 0.90
TENTH_QUANTILE = 0.995


def scale_of(values: NDArray[np.float32], in_decision: float, in_map: float) -> LevelScale:
    """Units from held-out good difference maps of one level (EfficientAD's way): quantiles 0.90 and 0.995."""
    zero, tenth = (float(value) for value in np.quantile(values, (ZERO_QUANTILE, TENTH_QUANTILE)))
    return LevelScale(zero, max(tenth, zero + 1e-3 * abs(zero) + 1e-9), in_decision, in_map)
