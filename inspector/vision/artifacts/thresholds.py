"""Says where a version's threshold may be moved to, and what its promise is worth then.

Everything here is computed from the version's manifest alone.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inspector.domain import ProductVersion
from inspector.errors import ArtifactError
from inspector.vision.artifacts.calibration import MARGIN, Calibration, threshold_of
from inspector.vision.heads.stored import finite

LOWEST_LEVEL, HIGHEST_LEVEL = 0.01, 10.0
"""The lowest and the highest level that a person may move a threshold to, in levels of its enrolment."""
SLACK = 0.02
"""Tolerance of both limits, as a share of the limit: rounded scores may shift a level by this much."""
MOST_LEVEL = 1e6
"""The highest level that is shown: any level above it is shown as this one."""
USUAL_ALPHA = 0.01
SAME_LEVEL = 5e-4
ROUNDING = 1e-5
"""Manifests keep held-out scores to five digits after the point."""
BULK_SHARE = 0.75
"""The share of the good images, from the lowest score on, that says how far good scores lie apart."""
MOST_SPREADS = 20.0
"""A score that lies farther above the median, in spreads of the bulk, sets no threshold. Good images reach 10."""


def moved_note(version: ProductVersion) -> str:
    """A few words that say that a version's threshold was moved, and what the move costs.

    Empty where the threshold was not moved, or where the manifest has no calibration to compare with.
    """
    level = moved_level(version)
    if level is None:
        return ""
    costs = "larger defects pass" if level > 1.0 else "more good parts are rejected"
    return f"its threshold was moved to level {level:.3g} of its enrolment: {costs}"


def moved_level(version: ProductVersion) -> float | None:
    """The level of its enrolment that a version's threshold was moved to. None where `moved_note` would be empty."""
    try:
        return EnrolledThreshold.of(version.manifest).level(version.threshold)
    except ArtifactError:
        return None


def threshold_fault(version: ProductVersion) -> str:
    """Why nothing may be judged by the threshold of a version as the store has it; empty where nothing is known.

    A threshold of the enrolment, or one that `products threshold` could have set, has no fault. Somebody who writes
    into the database could set any other, by which all parts pass or all are rejected.
    """
    back = f"`inspector products threshold {version.product} --level 1 --reason ...` moves it back"
    if not math.isfinite(version.threshold):
        return f"its threshold in the store is no number; {back}"
    try:
        enrolled = EnrolledThreshold.of(version.manifest)
    except ArtifactError:
        return ""
    if version.threshold == version.manifest.get("threshold") or enrolled.is_plausible(version.threshold):
        return ""
    level = f"level {enrolled.level(version.threshold):.3g} of its enrolment"
    return f"its threshold in the store, {version.threshold:.4g}, is {level}, to which no command moves one; {back}"


@dataclass(frozen=True, slots=True)
class EnrolledThreshold:
    """A threshold as it was enrolled.

    `scores`: scores of the good images that set the threshold. `probes`: scores of the probe images.
    """

    calibration: Calibration
    scores: tuple[float, ...]
    probes: tuple[float, ...] = ()

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> EnrolledThreshold:
        """The enrolled threshold of a manifest. Raises ArtifactError where it has no readable calibration."""
        stored, evidence = manifest.get("calibration"), manifest.get("evidence")
        if not isinstance(stored, Mapping):
            raise ArtifactError("The version's manifest has no calibration; enrol it again.")
        scores = evidence.get("held_out_scores", ()) if isinstance(evidence, Mapping) else ()
        probes = manifest.get("probes", ())
        try:
            known = cls(
                Calibration.from_manifest(stored),
                tuple(finite(each) for each in scores),
                tuple(finite(each["score"]) for each in probes),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ArtifactError("The version's manifest holds scores that are no numbers; enrol it again.") from error
        median, enrolled = known._ruler
        if not math.isfinite(enrolled - median):  # no score has a level then
            raise ArtifactError("The version's manifest holds scores that no image has; enrol it again.")
        return known

    def level(self, threshold: float) -> float | None:
        """The level of the enrolment at which a threshold lies; None where the threshold is the enrolment's own.

        Where the threshold is not plausible (see `is_plausible`), the level that shows it, limited to +-MOST_LEVEL.
        """
        if not self.is_plausible(threshold):
            return max(-MOST_LEVEL, min(MOST_LEVEL, self.level_shown(threshold)))
        level = self.level_of(threshold)
        return None if abs(level - 1.0) < SAME_LEVEL else level

    def level_of(self, score: float) -> float:
        """The level of a score: 1 is the threshold that enrolment set."""
        median, enrolled = self._ruler
        return (score - median) / (enrolled - median)

    @property
    def _ruler(self) -> tuple[float, float]:
        """The scores at level 0 and 1: of the stored calibration, unless the held-out scores give another threshold.

        Somebody has moved the threshold together with its calibration then.
        """
        calibration = self.calibration
        if not self.scores or abs(self.level_given(calibration.threshold) - 1.0) <= SLACK:
            return calibration.median, calibration.threshold
        given, median = self._given(self.scores)
        return median, given

    def _given(self, scores: Sequence[float]) -> tuple[float, float]:
        """The threshold that these scores give, and their median. A score far above the bulk gives none."""
        calibration = self.calibration
        scores = _of_the_bulk(scores)
        alpha = calibration.alpha if 0.0 < (calibration.alpha or 0.0) < 1.0 else USUAL_ALPHA
        return threshold_of(scores, alpha, is_cross_fit=calibration.kind == "estimate")

    def level_given(self, threshold: float) -> float:
        """The level of a threshold, computed anew from the scores of the good images instead of the stored calibration.

        The held-out scores are used where the manifest keeps them, else the scores of the probes: one probe is the good
        image with the highest score. With neither, the level is that of the stored calibration.
        """
        scores = self.scores or self.probes
        if not scores:
            return self.calibration.level(threshold)
        given, median = self._given(scores)
        return (threshold - median) / (given - median)

    def level_shown(self, threshold: float) -> float:
        """The level by the scores of the good images; by the stored calibration if only that makes it implausible."""
        given = self.level_given(threshold)
        return self.calibration.level(threshold) if _is_usual(given) else given

    def is_plausible(self, threshold: float) -> bool:
        """Whether `products threshold` could have set this threshold.

        The stored calibration and the scores of the good images must both place it within the allowed levels.
        """
        return _is_usual(self.calibration.level(threshold)) and _is_usual(self.level_given(threshold))

    def score_at(self, level: float) -> float:
        """The score at a level of the enrolment. Raises ArtifactError where its own good images contradict that score.

        It is a score that a threshold may be moved to then, whatever the manifest says of its calibration.
        """
        median, enrolled = self._ruler
        score = enrolled if abs(level - 1.0) < SAME_LEVEL else median + level * (enrolled - median)
        if not _is_usual(self.level_given(score)):
            raise ArtifactError(
                f"Level {level:g} of the enrolment can't be told: the manifest says score {score:.4g}, which its own "
                "good images contradict. Enrol the product again."
            )
        return score

    def above(self, threshold: float) -> int:
        """How many of the good images that set the enrolled threshold would be rejected at this `threshold`."""
        return sum(score > threshold + ROUNDING for score in self.scores)

    def statement(self, threshold: float) -> str:
        """One sentence: the enrolment's promise where it still holds at this `threshold`, and what has changed."""
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
            "threshold_enrolled": self._ruler[1],
            "level": 1.0 if (level := self.level(threshold)) is None else round(level, 4),
            "held_out": len(self.scores),
            "held_out_above": self.above(threshold),
            "statement": self.statement(threshold),
        }


def _of_the_bulk(scores: Sequence[float]) -> list[float]:
    """The scores without those that lie far above the others: one invented score could set any threshold."""
    ordered = sorted(scores)
    median = statistics.median(ordered)
    upper = ordered[int(BULK_SHARE * (len(ordered) - 1))]
    spread = max(upper - median, abs(median) * (MARGIN - 1.0)) or MARGIN - 1.0
    return [score for score in ordered if score - median <= MOST_SPREADS * spread]


def _is_usual(level: float) -> bool:
    """Whether a person could have moved a threshold there."""
    return LOWEST_LEVEL * (1 - SLACK) <= level <= HIGHEST_LEVEL * (1 + SLACK)
