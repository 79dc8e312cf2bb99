"""The student head: a small network imitates the frozen backbone on good images, and fails on anything else.

[A] FCL with SNC (Li, Hu; IEEE TIM 2025, 10.1109/TIM.2024.3522399): teacher and student are held together
at a low and a high level in one framework, through SNC. [R] Network, levels, scales and how the levels are
joined are our reconstruction and our choice, only the abstract being public. No torch, no files: training
lives in `student_training`, the graph in `student_graph`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inspector.vision.engines.protocols import Engine, Patches
from inspector.vision.heads.base import Grid, Judgement, Readout, enlarge
from inspector.vision.networks.student_graph import StudentWeights

TENTH = 0.1


@dataclass(frozen=True, slots=True)
class LevelScale:
    """Units of one level's difference map: `zero` becomes 0 and `tenth` 0.1; its weights in decision and map."""

    zero: float
    tenth: float
    in_decision: float = 0.5
    in_map: float = 0.5

    def levels(self, values: Grid) -> Grid:
        return np.asarray(TENTH * (values - self.zero) / (self.tenth - self.zero), np.float32)


@dataclass(frozen=True, slots=True)
class Student:
    """A trained student with its place in a pass. `embeddings`: which of the pass are stem, low and high."""

    weights: StudentWeights
    embeddings: tuple[int, int, int]
    low: LevelScale
    high: LevelScale


class StudentHead:
    """A student ready on one engine. Each frame is judged by itself: a batch gives what its frames give."""

    def __init__(self, student: Student, readout: Readout, engine: Engine) -> None:
        self.student = student
        self.readout = readout
        self._compare = engine.student(student.weights)

    def judge(self, embedded: Sequence[Patches]) -> list[Judgement]:
        """`embedded`: one [B, P, C] per embedding of the pass. A frame whose numbers are not finite gets a score
        that is not finite; the others are not touched by it.
        """
        return [self.blend(low, high) for low, high in self.measure(embedded)]

    def measure(self, embedded: Sequence[Patches]) -> list[tuple[Grid, Grid]]:
        """Raw difference maps of each frame, low [g8, g8] and high [g16, g16]."""
        return self._compare([embedded[index] for index in self.student.embeddings])

    def blend(self, low: Grid, high: Grid) -> Judgement:
        """One frame's raw maps to its decision (never below 0) and the map that is shown."""
        of_low, of_high = self.student.low, self.student.high
        fine, coarse = of_low.levels(low), enlarge(of_high.levels(high), low.shape[0])
        shown = fine * np.float32(of_low.in_map) + coarse * np.float32(of_high.in_map)
        deciding = fine * np.float32(of_low.in_decision) + coarse * np.float32(of_high.in_decision)
        score = self.readout.score(deciding)
        return Judgement(float(np.maximum(score, 0.0)), self.readout.smoothed(shown))
