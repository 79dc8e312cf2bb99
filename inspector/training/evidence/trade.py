"""The trade between good parts that are rejected and defects that are found, at several thresholds of one head.

The thresholds come from the scores of the good images that calibrate the head, by the rule that makes the deployed
threshold. The defects are drawn on good images, so a share of them that is found is no plant's escape rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from inspector.training.defects.drawing import DefectKind
from inspector.training.statistics.calibrating import CONFIDENCE
from inspector.vision.artifacts.binomial import clopper_pearson, upper_bound
from inspector.vision.artifacts.calibration import Calibration, rank_of, scores_needed, threshold_of
from inspector.vision.artifacts.eyesight import LARGE_SIZES

OVERKILLS: Final = (0.001, 0.005, 0.01, 0.02, 0.05)
"""Shares of good parts that may be rejected, at which the trade is shown, besides the share of the enrolment itself."""

NOT_SUPPORTED: Final = (
    "Where a row needs more images than there are, its threshold is the largest score with a margin: the one that "
    "rejects the fewest good parts."
)


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
    """One threshold. `overkill`: the share of good parts that may be rejected, as a person asks for it.

    `level`: the threshold as a level of the deployed head. `bound`: with 95 % confidence fewer good parts than this are
    rejected. Where other heads than the deployed one scored the images (cross-fit), it is None, and `interval` says
    between what shares an estimate lies. `needs_images`: the number of scores from which there is an order statistic of
    this share, where there are fewer; the threshold is then the largest score with a margin, which rejects fewer good
    parts and finds fewer defects. `is_deployed`: the version was enrolled with this share. `by_kind_and_size`: drawn
    defects on frames that pass unchanged at this threshold.
    """

    overkill: float
    threshold: float
    level: float
    bound: float | None
    interval: tuple[float, float] | None
    needs_images: int | None
    is_deployed: bool
    by_kind_and_size: dict[DefectKind, dict[float, Found]]

    @property
    def is_signed(self) -> bool:
        """The bound is one for this share: held-out images enough for it were scored by the deployed head."""
        return self.needs_images is None and self.bound is not None

    @property
    def large(self) -> Found:
        """Defects of the `LARGE_SIZES`, all kinds together."""
        return _sum(self.of_size(size) for size in LARGE_SIZES)

    @property
    def total(self) -> Found:
        """All kinds and sizes together."""
        return _sum(cell for sizes in self.by_kind_and_size.values() for cell in sizes.values())

    def of_kind(self, kind: DefectKind) -> Found:
        return _sum(self.by_kind_and_size.get(kind, {}).values())

    def of_size(self, size_share: float) -> Found:
        return _sum(sizes[size_share] for sizes in self.by_kind_and_size.values() if size_share in sizes)

    def to_manifest(self) -> dict[str, Any]:
        return {
            "overkill": self.overkill,
            "threshold": round(self.threshold, 6),
            "level": round(self.level, 4),
            "bound": None if self.bound is None else round(self.bound, 4),
            "interval": None if self.interval is None else [round(end, 4) for end in self.interval],
            "is_signed": self.is_signed,
            "needs_images": self.needs_images,
            "is_deployed": self.is_deployed,
            "total": self.total.to_manifest(),
            "by_kind": {kind.value: self.of_kind(kind).to_manifest() for kind in self.by_kind_and_size},
            "by_size": {f"{size:g}": self.of_size(size).to_manifest() for size in self.sizes},
        }

    @property
    def sizes(self) -> list[float]:
        """The sizes that were drawn, largest first."""
        return sorted({size for sizes in self.by_kind_and_size.values() for size in sizes}, reverse=True)


def shares_of(calibration: Calibration) -> list[float]:
    """The shares at which the trade is shown, smallest first: those of everybody and that of the enrolment."""
    return sorted({*OVERKILLS, calibration.alpha})


def thresholds_of(scores: Sequence[float], calibration: Calibration) -> dict[float, float]:
    """The threshold for each share of `shares_of`. `scores`: of good images, at least one."""
    is_cross_fit = calibration.kind == "estimate"
    return {share: threshold_of(scores, share, is_cross_fit=is_cross_fit)[0] for share in shares_of(calibration)}


def trade_of(drawn: Sequence[DrawnDefect], scores: Sequence[float], calibration: Calibration) -> tuple[TradePoint, ...]:
    """The trade, with the fewest good parts rejected first. `scores`: of the calibrating images, at least one."""
    n, is_cross_fit = len(scores), calibration.kind == "estimate"
    points = []
    for share, threshold in thresholds_of(scores, calibration).items():
        rank = rank_of(n, share)
        above = n - min(rank, n)
        points.append(
            TradePoint(
                overkill=share,
                threshold=threshold,
                level=calibration.level(threshold),
                bound=None if is_cross_fit else upper_bound(above, n, CONFIDENCE),
                interval=clopper_pearson(above, n, CONFIDENCE) if is_cross_fit else None,
                needs_images=scores_needed(share) if rank > n else None,
                is_deployed=share == calibration.alpha,
                by_kind_and_size=_counted(drawn, threshold),
            )
        )
    return tuple(points)


def completed(point: Mapping[str, Any], calibration: Mapping[str, Any]) -> Mapping[str, Any]:
    """A point of a manifest's trade with the entries that earlier versions did not write, from its calibration."""
    if "needs_images" in point:
        return point
    share, n = float(point["overkill"]), int(calibration.get("n", 0))
    needs = scores_needed(share) if rank_of(n, share) > n else None
    return {**point, "needs_images": needs, "is_deployed": share == calibration.get("alpha")}


def promised(point: Mapping[str, Any]) -> str:
    """What is stated of good parts at a point of a manifest's trade: a bound, the interval of an estimate, or `-`."""
    if (bound := point.get("bound")) is not None:
        return f"< {bound:.1%}"
    if (interval := point.get("interval")) is not None:
        return f"{interval[0]:.1%} to {interval[1]:.1%}, estimate"
    return "-"


def remark_on(point: Mapping[str, Any]) -> str:
    """What a person must know of a point of a manifest's trade, in a few words; empty where there is nothing."""
    remarks = ["enrolled with this"] if point.get("is_deployed") else []
    if needed := point.get("needs_images"):
        which = "images" if point.get("bound") is None else "held-out images"
        remarks.append(f"needs {needed} {which}")
    return "; ".join(remarks)


def found_of_large(drawn: Sequence[DrawnDefect], threshold: float) -> Found:
    """Drawn defects of the sizes in `LARGE_SIZES` that are found at this threshold, all kinds together."""
    large = [each for each in drawn if each.size_share in LARGE_SIZES and each.ground_score <= threshold]
    return Found(sum(each.score > threshold for each in large), len(large))


def _sum(cells: Iterable[Found]) -> Found:
    each = list(cells)
    return Found(sum(cell.found for cell in each), sum(cell.n for cell in each))


def _counted(drawn: Sequence[DrawnDefect], threshold: float) -> dict[DefectKind, dict[float, Found]]:
    counted: dict[DefectKind, dict[float, Found]] = {}
    for each in drawn:
        if each.ground_score > threshold:
            continue  # the frame is rejected without the defect too
        sizes = counted.setdefault(each.kind, {})
        before = sizes.get(each.size_share, Found(0, 0))
        sizes[each.size_share] = Found(before.found + (each.score > threshold), before.n + 1)
    return counted
