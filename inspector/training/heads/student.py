"""From prepared good images to a calibrated student: one split, no cross-fit.

Three disjoint parts: images that train, images that stop the training and give the maps their units, and
images that calibrate, which the deployed head never saw. Torch is loaded only when a student is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inspector.errors import UsageError
from inspector.training.dataset.gathering import Progress
from inspector.training.heads.fitted import Fitted, calibrated
from inspector.training.heads.prototype import held_out
from inspector.training.heads.recipes import Recipe, StudentRecipe
from inspector.training.heads.student_plan import TrainingPlan
from inspector.training.heads.teacher_maps import TeacherMaps, look
from inspector.vision.engines.protocols import Embedder, Engine, Patches
from inspector.vision.heads.base import Judgement, Readout
from inspector.vision.heads.student import LevelScale, Student, StudentHead
from inspector.vision.networks.graphs import Graph
from inspector.vision.networks.student_graph import STUDENT_EMBEDDINGS, StudentWeights
from inspector.vision.serving.tiling import Squares, join

CALIBRATING = 20
"""So many images are held out where a third of them are at least so many; else a third."""
BATCH = 8


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


class Apprenticeship:
    """Fits one student. `inputs`: the prepared canvases, uint8 [Hc, Wc, 3] each, named by their index.

    `embedder` takes squares: a tile is an image to the student, and all tiles of an image stay in one part.
    `parts`: which image is for what, None for `split`.
    """

    def __init__(
        self,
        recipe: Recipe,
        graph: Graph,
        engine: Engine,
        inputs: Sequence[NDArray[np.uint8]],
        embedder: Embedder,
        parts: Split | None = None,
    ) -> None:
        if recipe.student is None:
            raise UsageError(f"The head {recipe.head} has no student to train.")
        self._recipe: StudentRecipe = recipe.student
        stem, low, high = (graph.embeddings.index(item) for item in STUDENT_EMBEDDINGS)
        self._embeddings = (stem, low, high)
        self._engine, self._inputs, self._embedder = engine, inputs, embedder
        self._preparation = recipe.preparation
        self._squares = Squares(inputs, recipe.preparation)
        self._parts = parts or split(len(inputs))
        self._readout = Readout(recipe.reading, recipe.top_share, recipe.sigma_px, recipe.preparation.size_px)

    def fit(self, plan: TrainingPlan, alpha: float, progress: Progress, ended: Callable[[str], None]) -> Fitted:
        """A student with its threshold. `ended` is called with the name of each phase when it is over."""
        weights = self.train(plan, progress, ended)
        fitted = self.finish(weights, alpha, progress)
        ended("calibration")
        return fitted

    def train(self, plan: TrainingPlan, progress: Progress, ended: Callable[[str], None]) -> StudentWeights:
        """Only the student's weights; `finish` makes a head of them."""
        seen = self._squares.of(sorted(self._parts.training + self._parts.checking))
        maps = look(self._squares, seen, self._three, lambda done, total: progress("teacher maps", done, total))
        ended("teacher_maps")
        weights = self._train(maps, plan, progress)
        ended("training")
        return weights

    def finish(self, weights: StudentWeights, alpha: float, progress: Progress) -> Fitted:
        """A head of these weights: units from the images that stopped the training, threshold from the third part."""
        head, judged = self._judged(weights, progress)
        text = f"{len(judged)} of {len(self._inputs)} images in runs over the file order, never seen by the student"
        return calibrated([], judged, text, None, alpha, head.student)

    def judged(self, weights: StudentWeights, progress: Progress) -> list[tuple[int, Judgement]]:
        """What a head of these weights says of the third part, by image."""
        return self._judged(weights, progress)[1]

    def _judged(self, weights: StudentWeights, progress: Progress) -> tuple[StudentHead, list[tuple[int, Judgement]]]:
        head = self._scaled(weights, self._parts.checking, progress)
        return head, self._judge(head, self._parts.calibrating, progress)

    def _three(self, pixels: NDArray[np.uint8]) -> list[Patches]:
        embedded = self._embedder(pixels)
        return [embedded[index] for index in self._embeddings]

    def _train(self, maps: TeacherMaps, plan: TrainingPlan, progress: Progress) -> StudentWeights:
        from inspector.training.heads.student_training import StudentTrainer, Variant, usable_device

        kept = set(maps.indices)
        training = [square for square in self._squares.of(self._parts.training) if square in kept]
        checking = [square for square in self._squares.of(self._parts.checking) if square in kept]
        device = usable_device() if self._engine.name == "torch-cuda" else "cpu"
        trainer = StudentTrainer(
            maps, training, checking, plan, Variant(self._recipe.levels, self._recipe.is_coded), device
        )
        return trainer.run(lambda done, total: progress("training", done, total))

    def _scaled(self, weights: StudentWeights, images: Sequence[int], progress: Progress) -> StudentHead:
        """The head with its maps' units, which come from images that did not train it."""
        recipe, unit = self._recipe, LevelScale(0.0, 1.0)
        raw = StudentHead(Student(weights, self._embeddings, unit, unit), self._readout, self._engine)
        squares = self._squares.of(images)
        maps = []
        for start in range(0, len(squares), BATCH):
            batch = squares[start : start + BATCH]
            maps += raw.measure(self._embedder(np.stack([self._squares[i] for i in batch])))
            progress("map units", start + len(batch), len(squares))
        low = scale_of(np.stack([each for each, _ in maps]), recipe.low_in_decision, recipe.low_in_map)
        high = scale_of(np.stack([each for _, each in maps]), recipe.high_in_decision, recipe.high_in_map)
        return StudentHead(Student(weights, self._embeddings, low, high), self._readout, self._engine)

    def _judge(self, head: StudentHead, images: Sequence[int], progress: Progress) -> list[tuple[int, Judgement]]:
        squares = self._squares.of(images)
        found: list[Judgement] = []
        for start in range(0, len(squares), BATCH):
            batch = squares[start : start + BATCH]
            found += head.judge(self._embedder(np.stack([self._squares[i] for i in batch])))
            progress("held-out scores", start + len(batch), len(squares))
        return list(zip(images, join(found, self._preparation), strict=True))


ZERO_QUANTILE = 0.90
TENTH_QUANTILE = 0.995


def scale_of(values: NDArray[np.float32], in_decision: float, in_map: float) -> LevelScale:
    """Units from held-out good difference maps of one level (EfficientAD's way): quantiles 0.90 and 0.995."""
    zero, tenth = (float(value) for value in np.quantile(values, (ZERO_QUANTILE, TENTH_QUANTILE)))
    return LevelScale(zero, max(tenth, zero + 1e-3 * abs(zero) + 1e-9), in_decision, in_map)
