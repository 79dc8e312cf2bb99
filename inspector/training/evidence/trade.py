"""The trade between good parts that are rejected and defects that are found, at several thresholds of one head.

The thresholds come from the scores of held-out good images, by the rule that makes the deployed threshold. The defects
are drawn on held-out images, so a share of them that is found is no plant's escape rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from inspector.training.defects.drawing import DefectKind
from inspector.training.statistics.binomial import clopper_pearson, upper_bound
from inspector.training.statistics.calibrating import CONFIDENCE
from inspector.vision.artifacts.calibration import Calibration, rank_of, threshold_of

OVERKILLS: Final = (0.001, 0.005, 0.01, 0.02, 0.05)
"""Shares of good parts that are rejected, at which the trade is shown."""

LARGE_SIZES: Final = (0.16, 0.08, 0.04)
"""Sizes, as shares of the picture's longer side, by which it is judged whether a head sees anything."""


@dataclass(frozen=True, slots=True)
class DrawnDefect:
    """One drawn defect. `score`: of the frame with the defect; `ground_score`: of the same frame without it."""

    kind: DefectKind
    size_share: float
    score: float
    ground_score: float


@dataclass(frozen=True, slots=True)
class Found:
    """How many of `n` drawn defects are found. The interval is exact, two-sided, 95 %."""

    found: int
    n: int

    @property
    def share(self) -> float | None:
        return self.found / self.n if self.n else None

    def to_manifest(self) -> dict[str, Any]:
        interval = None if not self.n else [round(end, 4) for end in clopper_pearson(self.found, self.n, CONFIDENCE)]
        return {"found": self.found, "n": self.n, "interval": interval}


NONE_DRAWN: Final = Found(0, 0)


@dataclass(frozen=True, slots=True)
class TradePoint:
    """One threshold. `overkill`: the intended share of good parts rejected. `level`: as a level of the deployed head.

    `bound`: with 95 % confidence fewer good parts than this are rejected; None where no held-out image was scored by
    the deployed head. `is_signed`: there are enough scores for an order statistic of this share. Else the threshold is
    the largest score with a margin, which rejects fewer good parts and finds fewer defects. `by_kind_and_size`: drawn
    defects on frames that pass unchanged at this threshold.
    """

    overkill: float
    threshold: float
    level: float
    bound: float | None
    is_signed: bool
    by_kind_and_size: dict[DefectKind, dict[float, Found]]

    @property
    def total(self) -> Found:
        """All kinds and sizes together."""
        cells = [cell for sizes in self.by_kind_and_size.values() for cell in sizes.values()]
        return Found(sum(cell.found for cell in cells), sum(cell.n for cell in cells))

    def of_kind(self, kind: DefectKind) -> Found:
        cells = self.by_kind_and_size.get(kind, {}).values()
        return Found(sum(cell.found for cell in cells), sum(cell.n for cell in cells))

    def of_size(self, size_share: float) -> Found:
        cells = [sizes[size_share] for sizes in self.by_kind_and_size.values() if size_share in sizes]
        return Found(sum(cell.found for cell in cells), sum(cell.n for cell in cells))

    def to_manifest(self) -> dict[str, Any]:
        return {
            "overkill": self.overkill,
            "threshold": round(self.threshold, 6),
            "level": round(self.level, 4),
            "bound": None if self.bound is None else round(self.bound, 4),
            "is_signed": self.is_signed,
            "total": self.total.to_manifest(),
            "by_kind": {kind.value: self.of_kind(kind).to_manifest() for kind in self.by_kind_and_size},
            "by_size": {f"{size:g}": self.of_size(size).to_manifest() for size in self.sizes},
        }

    @property
    def sizes(self) -> list[float]:
        """The sizes that were drawn, largest first."""
        return sorted({size for sizes in self.by_kind_and_size.values() for size in sizes}, reverse=True)


def thresholds_of(scores: Sequence[float], calibration: Calibration) -> dict[float, float]:
    """The threshold for each share of `OVERKILLS`. `scores`: of good images, at least one."""
    is_cross_fit = calibration.kind == "estimate"
    return {share: threshold_of(scores, share, is_cross_fit=is_cross_fit)[0] for share in OVERKILLS}


def trade_of(drawn: Sequence[DrawnDefect], scores: Sequence[float], calibration: Calibration) -> tuple[TradePoint, ...]:
    """The trade, with the fewest good parts rejected first. `scores`: of held-out good images, at least one."""
    n, is_cross_fit = len(scores), calibration.kind == "estimate"
    points = []
    for share, threshold in thresholds_of(scores, calibration).items():
        rank = rank_of(n, share)
        points.append(
            TradePoint(
                overkill=share,
                threshold=threshold,
                level=calibration.level(threshold),
                bound=None if is_cross_fit else upper_bound(n - min(rank, n), n, CONFIDENCE),
                is_signed=rank <= n and not is_cross_fit,
                by_kind_and_size=_counted(drawn, threshold),
            )
        )
    return tuple(points)


def found_of_large(drawn: Sequence[DrawnDefect], threshold: float) -> Found:
    """Drawn defects of the sizes in `LARGE_SIZES` that are found at this threshold, all kinds together."""
    large = [each for each in drawn if each.size_share in LARGE_SIZES and each.ground_score <= threshold]
    return Found(sum(each.score > threshold for each in large), len(large))


def _counted(drawn: Sequence[DrawnDefect], threshold: float) -> dict[DefectKind, dict[float, Found]]:
    counted: dict[DefectKind, dict[float, Found]] = {}
    for each in drawn:
        if each.ground_score > threshold:
            continue  # the frame is rejected without the defect too
        sizes = counted.setdefault(each.kind, {})
        before = sizes.get(each.size_share, Found(0, 0))
        sizes[each.size_share] = Found(before.found + (each.score > threshold), before.n + 1)
    return counted
