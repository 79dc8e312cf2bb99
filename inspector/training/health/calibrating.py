"""Sets the limits of a product's health checks from its good images alone.

Each good image is held out once: measured as it is, and with each fault made from it, against the other images. A
check is made where no held-out good image comes near its limit and nearly all faults are named rightly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inspector.domain import FrameFault
from inspector.training.health.faults import make_faulty
from inspector.vision.health.checks import CHECKED, Check, GoodLook, HealthChecks, Measuring
from inspector.vision.health.measures import BLOCKS, Look
from inspector.vision.images.preparation import Preparation, counted_cells

FEWEST_IMAGES: Final = 30
MOST_IMAGES: Final = 256
"""More images are thinned evenly: each comparison of blocks goes through all of them."""
FOLDS: Final = 5
NAMED_RIGHTLY: Final = 0.98
"""Share of the faults that must be named rightly for a check to be made."""
LIMIT_AT: Final = 0.7
"""Where a limit lies on the way from the most conspicuous good image (0) to the faults (1)."""
BRIGHT_LIMIT_AT: Final = 0.5
"""The same for bright frames. An overexposed frame has fewer white pixels in its copy than an overexposed copy has."""
FAULTS_FROM: Final = 0.02
"""Quantile of the measures of faulty images that stands for the faults."""
CLEARANCE: Final = 0.5
"""Least way from the most conspicuous good image to a limit, as a share of the way from the median image to it."""
LEAST_LIMITS: Final = {FrameFault.MOVED: 0.1, FrameFault.COVERED: 0.2}
"""A check is not made where its limit would be lower: a smaller area may be a defect, a smaller gain is chance."""
_FAR_QUANTILE, _FAR_MARGIN = 0.99, 1.2
_LEAST_FAR, _MOST_FAR = 10.0, 24.0

_REASONS: Final = {
    FrameFault.DARK: "good images differ as much in brightness as from frames with a quarter of the light",
    FrameFault.BRIGHT: "good images are as white as overexposed ones",
    FrameFault.BLURRED: "good images are as soft as blurred ones",
    FrameFault.MOVED: "good parts do not lie alike enough, or look alike everywhere",
    FrameFault.COVERED: "good images differ too much from place to place",
}


def calibrated(copies: Sequence[NDArray[np.uint8]], preparation: Preparation) -> HealthChecks:
    """The checks that these good images carry. `copies`: their routing copies, uint8 [S, S, 3], in file order."""
    if len(copies) < FEWEST_IMAGES:
        reason = f"{FEWEST_IMAGES} good images are needed, {len(copies)} were given"
        return HealthChecks(None, {}, dict.fromkeys(CHECKED, reason), len(copies))
    kept = np.unique(np.linspace(0, len(copies) - 1, min(MOST_IMAGES, len(copies))).round().astype(int))
    counted = counted_cells(preparation, BLOCKS)
    trial = _Trial.of([copies[index] for index in kept], counted)
    limits = {fault: limit for fault in CHECKED if (limit := trial.limit(fault)) is not None}
    named: dict[FrameFault, float] = {}
    while limits:
        named = trial.named(limits)
        worst = min(named, key=lambda fault: named[fault])
        if named[worst] >= NAMED_RIGHTLY:
            break
        del limits[worst]
    checks = {fault: Check(limit, float(trial.good[fault].max()), named[fault]) for fault, limit in limits.items()}
    refused = {fault: _REASONS[fault] for fault in CHECKED if fault not in checks}
    return HealthChecks(trial.all_good if checks else None, checks, refused, len(copies))


@dataclass(frozen=True, slots=True)
class _Trial:
    """Measures of held-out images. `good`: by check, [N]. `faulty`: by made fault, then by check, [N]."""

    all_good: GoodLook
    good: Mapping[FrameFault, NDArray[np.float64]]
    faulty: Mapping[FrameFault, Mapping[FrameFault, NDArray[np.float64]]]

    @classmethod
    def of(cls, copies: Sequence[NDArray[np.uint8]], counted: NDArray[np.bool_]) -> _Trial:
        looks = [Look(copy, counted) for copy in copies]
        fold_of = (np.arange(len(copies)) // max(1, len(copies) // 50)) % FOLDS  # shots of one part stay together
        others = [[look for look, own in zip(looks, fold_of, strict=True) if own != fold] for fold in range(FOLDS)]
        measuring = [Measuring(GoodLook.of(group, _LEAST_FAR, counted)) for group in others]
        distances = [measuring[fold].distances(look)[counted] for look, fold in zip(looks, fold_of, strict=True)]
        far = float(np.clip(_FAR_MARGIN * np.quantile(distances, _FAR_QUANTILE), _LEAST_FAR, _MOST_FAR))
        measuring = [Measuring(replace(each.good, far_from=far)) for each in measuring]
        against = [measuring[fold] for fold in fold_of]
        region = _region(counted, copies[0].shape[0])
        rng = np.random.default_rng(0)
        faulty = {
            fault: _measured((Look(_with(fault, copy, region, rng), counted) for copy in copies), against)
            for fault in CHECKED
        }
        return cls(GoodLook.of(looks, far, counted), _measured(looks, against), faulty)

    def limit(self, fault: FrameFault) -> float | None:
        """The limit of a check; None where good images come too near to the fault."""
        good, faulty = self.good[fault], float(np.quantile(self.faulty[fault][fault], FAULTS_FROM))
        most = float(good.max())
        limit = most + (BRIGHT_LIMIT_AT if fault is FrameFault.BRIGHT else LIMIT_AT) * (faulty - most)
        is_clear = (
            faulty > most
            and limit >= LEAST_LIMITS.get(fault, 0.0)
            and limit - most >= CLEARANCE * (most - float(np.median(good)))
        )
        return limit if is_clear else None

    def named(self, limits: Mapping[FrameFault, float]) -> dict[FrameFault, float]:
        """By check: the share of the made faults that get its name first."""
        shares = {}
        for fault in limits:
            first = [over for over in CHECKED if over in limits]
            over = np.stack([self.faulty[fault][each] > limits[each] for each in first])  # [checks, N]
            shares[fault] = float(((over.argmax(axis=0) == first.index(fault)) & over.any(axis=0)).mean())
        return shares


def _region(counted: NDArray[np.bool_], side: int) -> tuple[slice, slice]:
    """Rows and columns of a routing copy that hold all counted blocks."""
    rows, columns = np.flatnonzero(counted.any(axis=1)), np.flatnonzero(counted.any(axis=0))
    block = side // BLOCKS
    return (
        slice(int(rows[0]) * block, (int(rows[-1]) + 1) * block),
        slice(int(columns[0]) * block, (int(columns[-1]) + 1) * block),
    )


def _with(
    fault: FrameFault, copy: NDArray[np.uint8], region: tuple[slice, slice], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """The copy with the fault. A cover hides part of the region that counts; the other faults change the whole view."""
    if fault is not FrameFault.COVERED:
        return make_faulty(fault, copy, rng)
    covered = copy.copy()
    covered[region] = make_faulty(fault, copy[region], rng)
    return covered


def _measured(looks: Iterable[Look], against: Sequence[Measuring]) -> dict[FrameFault, NDArray[np.float64]]:
    """By check, the measures of all looks, each against its own good images. No look is kept."""
    rows = [[each.measure(fault, look) for fault in CHECKED] for look, each in zip(looks, against, strict=True)]
    return {fault: np.array(column) for fault, column in zip(CHECKED, zip(*rows, strict=True), strict=True)}
