"""Where a version's threshold may be moved to, and what is left of its promise then. From its manifest alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inspector.domain import ProductVersion
from inspector.errors import ArtifactError
from inspector.vision.artifacts.calibration import Calibration

SAME_LEVEL = 5e-4
ROUNDING = 1e-5
"""Manifests keep held-out scores to five digits after the point."""


def moved_note(version: ProductVersion) -> str:
    """That a version's threshold was moved, in a few words; empty where it was not, or its manifest can't say."""
    level = moved_level(version)
    if level is None:
        return ""
    costs = "larger defects pass" if level > 1.0 else "more good parts are rejected"
    return f"its threshold was moved to level {level:.3g} of its enrolment: {costs}"


def moved_level(version: ProductVersion) -> float | None:
    """The level of its enrolment that a version's threshold was moved to; None as for `moved_note`."""
    try:
        return EnrolledThreshold.of(version.manifest).level(version.threshold)
    except ArtifactError:
        return None


@dataclass(frozen=True, slots=True)
class EnrolledThreshold:
    """A threshold as it was enrolled. `scores`: of the good images that set it."""

    calibration: Calibration
    scores: tuple[float, ...]

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> EnrolledThreshold:
        """Raises ArtifactError where the manifest has no calibration."""
        stored, evidence = manifest.get("calibration"), manifest.get("evidence")
        if not isinstance(stored, Mapping):
            raise ArtifactError("The version's manifest has no calibration; enrol it again.")
        scores = evidence.get("held_out_scores", ()) if isinstance(evidence, Mapping) else ()
        return cls(Calibration.from_manifest(stored), tuple(float(each) for each in scores))

    def level(self, threshold: float) -> float | None:
        """The level of the enrolment at which a threshold lies; None where it is the enrolment's own."""
        level = self.calibration.level(threshold)
        return None if abs(level - 1.0) < SAME_LEVEL else level

    def score_at(self, level: float) -> float:
        """The score at a level of the enrolment."""
        calibration = self.calibration
        if abs(level - 1.0) < SAME_LEVEL:
            return calibration.threshold
        return calibration.median + level * (calibration.threshold - calibration.median)

    def above(self, threshold: float) -> int:
        """How many of the good images that set the enrolment's threshold would be rejected."""
        return sum(score > threshold + ROUNDING for score in self.scores)

    def statement(self, threshold: float) -> str:
        """The enrolment's promise where it still holds, and what has changed."""
        level, promise = self.level(threshold), self.calibration.statement
        if level is None:
            return promise
        if level < 1.0:
            return (
                f"smaller defects are rejected, and {self.above(threshold)} of the {len(self.scores)} good images that "
                "were held out would be; what the enrolment promised of good parts holds no more"
            )
        return f"larger defects pass than the enrolment's report says; of good parts its promise holds ({promise})"

    def to_document(self, threshold: float) -> dict[str, Any]:
        return {
            "threshold_enrolled": self.calibration.threshold,
            "level": round(self.calibration.level(threshold), 4),
            "held_out": len(self.scores),
            "held_out_above": self.above(threshold),
            "statement": self.statement(threshold),
        }
