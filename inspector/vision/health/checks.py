"""The health checks of one product: what its good frames are like, and how far a frame may be from that.

Immutable; safe on several threads. The limits are set at enrolment (`training.health`), each check only where the
product's good images can carry it. A check's measure grows with the fault, and a frame above the limit has the fault.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from inspector.domain import FrameFault
from inspector.errors import ArtifactError
from inspector.vision.heads.stored import finite, floats
from inspector.vision.health.measures import (
    BLOCKS,
    EDGE_SIDE_PX,
    Floats,
    Look,
    block_distance,
    largest_area,
    most_shift_gain,
    shift_gain,
    spectrum,
)

CHECKED: Final = (FrameFault.DARK, FrameFault.BRIGHT, FrameFault.BLURRED, FrameFault.MOVED, FrameFault.COVERED)
"""The faults that one frame shows by itself, in the order in which they are looked for.

A fault of the whole frame comes first, because it changes the blocks of the whole frame too.
"""
LEAST_ALIKE: Final = 0.45
"""Share of the view that must resemble good images in spite of the fault, where routing did not know the product. Of
frames of eleven other products 5 % reach it and a limit too; of a product's own faulty frames nearly all do."""
BLACK: Final = 1 / 32
"""A frame with less than this share of the light of good images shows nothing: the lamp is out, or the lens covered."""
MOST_GOOD: Final = 4096
"""Most good images in an artifact."""
_NUMBERS: Final = ("brightness", "fineness", "far_from")

_ROUNDING: Final = 1e-3
"""More than a shift's gain can be off by its computation."""

_LEVELS_ALIKE: Final = 2.0
"""Brightness alone may differ this many times as far as a whole block: the fault changes it a little too."""

_MEASURES: Final = {
    FrameFault.DARK: "{0:.2f} stops darker than good images, at most {1:.2f} are allowed",
    FrameFault.BRIGHT: "{0:.0%} of the pixels are white, at most {1:.0%} are allowed",
    FrameFault.BLURRED: "fine detail is 2^{0:.1f} times weaker than in good images, at most 2^{1:.1f} are allowed",
    FrameFault.MOVED: "it fits good images better by {0:.2f} when it is shifted, at most {1:.2f} are allowed",
    FrameFault.COVERED: "{0:.0%} of the view in one piece is like no good image, at most {1:.0%} are allowed",
}


@dataclass(frozen=True, slots=True)
class GoodLook:
    """What good frames of a product are like.

    `brightness`, `fineness`: medians of the measures. `template`: mean edges, float32 [64, 64]. `blocks`: uint8
    [R, 2, 16, 16], those of R good frames. `far_from`: a block farther than this from all of them is like no good one.
    `counted`: bool [16, 16], the blocks in the region of interest.
    """

    brightness: float
    fineness: float
    template: Floats
    blocks: NDArray[np.uint8]
    far_from: float
    counted: NDArray[np.bool_]

    @classmethod
    def of(cls, looks: Sequence[Look], far_from: float, counted: NDArray[np.bool_]) -> GoodLook:
        """`looks`: at least one good frame."""
        return cls(
            brightness=float(np.median([look.brightness() for look in looks])),
            fineness=float(np.median([look.fineness() for look in looks])),
            template=np.mean([look.edges() for look in looks], axis=0, dtype=np.float32),
            blocks=np.stack([look.blocks() for look in looks]),
            far_from=far_from,
            counted=counted,
        )


class Measuring:
    """Measures frames against good ones."""

    def __init__(self, good: GoodLook) -> None:
        self.good = good
        self._spectrum = spectrum(good.template)
        self._of: dict[FrameFault, Callable[[Look], float]] = {
            FrameFault.DARK: lambda look: float(np.log2(good.brightness / look.brightness())),
            FrameFault.BRIGHT: Look.saturation,
            FrameFault.BLURRED: lambda look: good.fineness - look.fineness(),
            FrameFault.MOVED: lambda look: shift_gain(look.edges(), self._spectrum),
            FrameFault.COVERED: lambda look: largest_area(self.far(look), good.counted),
        }

    def measure(self, fault: FrameFault, look: Look) -> float:
        """How strongly a frame shows the fault, 0 or less for an ordinary frame."""
        return self._of[fault](look)

    def is_beyond(self, fault: FrameFault, look: Look, limit: float) -> bool:
        """Whether `measure` is above the limit. A shift costs two Fourier transforms, made only where it can be."""
        if fault is FrameFault.MOVED and most_shift_gain(look.edges(), self.good.template) < limit - _ROUNDING:
            return False
        return self.measure(fault, look) > limit

    def distances(self, look: Look) -> Floats:
        """How far each block is from every good image, [16, 16]."""
        return block_distance(look.blocks(), self.good.blocks)

    def resemblance(self, look: Look, fault: FrameFault) -> float:
        """Share of the view that is like a good image at its place, apart from what this fault does to all of it."""
        counted = self.good.counted
        match fault:
            case FrameFault.COVERED:
                return 1.0 - float(self.far(look)[counted].mean())
            case FrameFault.BLURRED:
                means = look.means
            case FrameFault.DARK if look.brightness() < self.good.brightness * BLACK:
                return 1.0  # nothing is left to compare where all is black
            case FrameFault.DARK:
                means = look.means * (self.good.brightness / look.brightness())
            case FrameFault.BRIGHT:
                return 1.0  # nothing is left to compare where all is white
            case _:
                return 0.0  # a moved frame is known to routing
        apart = np.abs(self.good.blocks[:, 0] - means).min(axis=0)
        return float((apart[counted] <= _LEVELS_ALIKE * self.good.far_from).mean())

    def far(self, look: Look) -> NDArray[np.bool_]:
        """Which blocks are like no good image."""
        return np.asarray(self.distances(look) > self.good.far_from)


@dataclass(frozen=True, slots=True)
class Check:
    """One check that the good images carry. `limit`: in the check's measure; `largest_good`: of held-out good images.

    `named`: share of the faults made from held-out good images that the checks name rightly.
    """

    limit: float
    largest_good: float
    named: float


@dataclass(frozen=True, slots=True)
class FoundFault:
    """The fault of a frame, and in words the measure that shows it."""

    fault: FrameFault
    measure: str


class HealthChecks:
    """The checks of one product. `refused`: why the others of `CHECKED` are not made. `n`: good images behind them."""

    def __init__(
        self,
        good: GoodLook | None,
        checks: Mapping[FrameFault, Check],
        refused: Mapping[FrameFault, str],
        n: int,
    ) -> None:
        if good is None and checks:
            raise ValueError("checks need good images")
        self.good = good
        self.checks = {fault: checks[fault] for fault in CHECKED if fault in checks}
        self.refused = dict(refused)
        self.n = n
        self._measuring = None if good is None else Measuring(good)

    def find(self, copy: NDArray[np.uint8], *, is_known: bool = True) -> FoundFault | None:
        """The first fault of a frame, by its routing copy [S, S, 3]; None for a sound frame.

        `is_known`: routing took the frame for this product. Without that the frame may show a part of another product,
        so that a fault is named only where the frame resembles this product in spite of it.
        """
        if self._measuring is None:
            return None
        look = Look(copy, self._measuring.good.counted)
        for fault, check in self.checks.items():
            if not self._measuring.is_beyond(fault, look, check.limit):
                continue
            if is_known or self._measuring.resemblance(look, fault) >= LEAST_ALIKE:
                value = self._measuring.measure(fault, look)
                return FoundFault(fault, _MEASURES[fault].format(value, check.limit))
        return None

    def to_manifest(self) -> dict[str, Any]:
        """Everything but the tensors."""
        return {
            "n": self.n,
            "checks": {fault.value: asdict(check) for fault, check in self.checks.items()},
            "not_checked": {fault.value: reason for fault, reason in self.refused.items()},
            "good": None if self.good is None else {name: getattr(self.good, name) for name in _NUMBERS},
        }

    def tensors(self) -> dict[str, NDArray[Any]]:
        if self.good is None:
            return {}
        counted = self.good.counted.astype(np.uint8)
        return {"template": self.good.template, "blocks": self.good.blocks, "counted": counted}

    @classmethod
    def read(cls, stored: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> HealthChecks:
        """The checks of an artifact. Raises ArtifactError, or what a wrong type raises."""
        checks = {
            FrameFault(name): Check(*(finite(check[part]) for part in ("limit", "largest_good", "named")))
            for name, check in stored["checks"].items()
        }
        refused = {FrameFault(name): str(reason) for name, reason in stored["not_checked"].items()}
        good = None if stored["good"] is None else _read_good(stored["good"], tensors)
        if not {*checks, *refused} <= set(CHECKED) or (good is None and checks):
            raise ArtifactError("The artifact holds health checks that this software does not know.")
        return cls(good, checks, refused, int(finite(stored["n"])))


def _read_good(stored: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> GoodLook:
    template, blocks, counted = floats(tensors["template"]), tensors["blocks"], tensors["counted"]
    brightness, fineness, far_from = (finite(stored[name]) for name in _NUMBERS)
    grid = (BLOCKS, BLOCKS)
    is_shaped = template.shape == (EDGE_SIDE_PX, EDGE_SIDE_PX) and counted.shape == grid
    if not is_shaped or blocks.ndim != 4 or blocks.shape[1:] != (2, *grid) or not 1 <= len(blocks) <= MOST_GOOD:
        raise ArtifactError("The artifact's health checks are not of the form that frames are looked at in.")
    if blocks.dtype != np.uint8 or not counted.any() or brightness <= 0:
        raise ArtifactError("The artifact's health checks say nothing about good frames.")
    return GoodLook(brightness, fineness, template, blocks, far_from, np.asarray(counted > 0, np.bool_))
