"""The student head: a small network imitates the frozen backbone on good images, and fails to do so on defects.

[A] FCL with SNC (Li, Hu; IEEE TIM 2025, 10.1109/TIM.2024.3522399): teacher and student are compared
at a low and a high level in one framework, through SNC. [R] The network, the levels, the scales and the way in which
the levels are joined are our reconstruction: only the abstract is public. This module uses no torch and no files.
`networks.student_graph` holds the graph, and `training.heads.student` fits the head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.errors import ArtifactError
from inspector.vision.engines.protocols import Engine, Patches
from inspector.vision.heads.base import EmbeddingUse, Grid, Judgement, Readout, enlarge
from inspector.vision.heads.stored import finite, floats
from inspector.vision.images.preparation import Preparation
from inspector.vision.networks.graphs import Graph
from inspector.vision.networks.student_graph import LEVELS, MAPS, StudentWeights, check_shapes, tensor_names

TENTH = 0.1
_SCALE_FIELDS = ("zero", "tenth", "in_decision", "in_map")


@dataclass(frozen=True, slots=True)
class LevelScale:
    """Scale of one level's difference map: `zero` becomes 0, `tenth` becomes 0.1. Also holds the level's weights."""

    zero: float
    tenth: float
    in_decision: float = 0.5
    in_map: float = 0.5

    def levels(self, values: Grid) -> Grid:
        return np.asarray(TENTH * (values - self.zero) / (self.tenth - self.zero), np.float32)


@dataclass(frozen=True, slots=True)
class StudentModel:
    """A trained student. Implements `base.HeadModel`.

    `places`: which embeddings of the pass are its stem, its low and its high level.
    """

    weights: StudentWeights
    places: tuple[int, int, int]
    low: LevelScale
    high: LevelScale
    readout: Readout

    @property
    def kind(self) -> str:
        return "student"

    @property
    def embeddings(self) -> tuple[EmbeddingUse, ...]:
        sizes = (self.weights.tensors[f"{name}.mean"].size for name in MAPS)
        return tuple(EmbeddingUse(index, size) for index, size in zip(self.places, sizes, strict=True))

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        return self.weights.tensors

    def to_manifest(self) -> dict[str, Any]:
        return {
            "readout": self.readout.to_manifest(),
            "is_coded": self.weights.is_coded,
            "embeddings": list(self.places),
            "parameters": sum(value.size for value in self.weights.tensors.values()),
            "low": asdict(self.low),
            "high": asdict(self.high),
        }

    def open(self, engine: Engine) -> StudentHead:
        return StudentHead(self, engine)


def read_student_model(
    stored: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]], _graph: Graph, preparation: Preparation
) -> StudentModel:
    """The model that an artifact stores, checked: every layer fits its neighbours, and each level has a scale.

    Raises as `factory.ModelReader`."""
    weights = StudentWeights({name: floats(tensors[name]) for name in tensor_names()}, bool(stored["is_coded"]))
    check_shapes(weights)
    stem, low, high = (int(index) for index in stored["embeddings"])
    readout = Readout.from_manifest(stored["readout"], preparation.size_px)
    of_low, of_high = (_read_scale(stored[level]) for level in LEVELS)
    return StudentModel(weights, (stem, low, high), of_low, of_high, readout)


def _read_scale(stored: Mapping[str, Any]) -> LevelScale:
    scale = LevelScale(**{name: finite(stored[name]) for name in _SCALE_FIELDS})
    if not scale.tenth > scale.zero:
        raise ArtifactError("The artifact's student has a level without a scale.")
    return scale


class StudentHead:
    """A student that is ready on one engine. Each frame is judged by itself. Implements `base.Head`."""

    def __init__(self, model: StudentModel, engine: Engine) -> None:
        self.model = model
        self._compare = engine.student(model.weights)

    def judge(self, embedded: Sequence[Patches]) -> list[Judgement]:
        """One judgement per frame. `embedded`: one [B, P, C] per embedding of the pass.

        A frame whose numbers are not finite gets a score that is not finite. The other frames are not affected.
        """
        return [self.blend(low, high) for low, high in self.measure(embedded)]

    def measure(self, embedded: Sequence[Patches]) -> list[tuple[Grid, Grid]]:
        """Raw difference maps of each frame, low [g8, g8] and high [g16, g16]."""
        return self._compare([embedded[index] for index in self.model.places])

    def blend(self, low: Grid, high: Grid) -> Judgement:
        """The judgement of one frame, from its raw maps: the score (never below 0) and the map that is shown."""
        of_low, of_high = self.model.low, self.model.high
        fine, coarse = of_low.levels(low), enlarge(of_high.levels(high), low.shape[0])
        shown = fine * np.float32(of_low.in_map) + coarse * np.float32(of_high.in_map)
        deciding = fine * np.float32(of_low.in_decision) + coarse * np.float32(of_high.in_decision)
        score = self.model.readout.score(deciding)
        return Judgement(float(np.maximum(score, 0.0)), self.model.readout.smoothed(shown))
