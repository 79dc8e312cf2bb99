"""Finds faults of the masks of a product's defects: missing, unfit, empty, gray or inverted.

Pixel figures need a mask of every defective image that was judged; one that is missing would count its defect as
normal pixels, so the figures are left empty instead, and the missing ones are named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inspector.errors import UsageError
from inspector.evaluation.contenders import Result
from inspector.evaluation.layouts import WHITE_FROM, cut_of, has_aspect, mask_levels

MOST_MARKED = 0.5
"""A defect larger than this share of its image is an inverted mask more often than a defect."""


@dataclass(slots=True)
class MaskFindings:
    """Masks by what is odd about them; `missing` are images. `unfit`: with the reason, they can't be used.

    `gray`: neither black nor white somewhere, read as black below 128. `resized`: of another size than the image.
    """

    missing: list[Path] = field(default_factory=list)
    unfit: list[tuple[Path, str]] = field(default_factory=list)
    gray: list[Path] = field(default_factory=list)
    large: list[Path] = field(default_factory=list)
    empty: list[Path] = field(default_factory=list)
    resized: list[Path] = field(default_factory=list)
    n_defective: int = 0

    @property
    def has_any(self) -> bool:
        """Whether the product has masks at all; without any, empty pixel figures are no surprise."""
        return len(self.missing) < self.n_defective

    @property
    def are_complete(self) -> bool:
        """Whether every defective image has a mask that fits it, and there is one."""
        return bool(self.n_defective) and not self.missing and not self.unfit


def check_masks(results: Sequence[Result]) -> MaskFindings:
    """Of all defective images that were judged; reads each mask once."""
    findings = MaskFindings()
    for result in results:
        if result.image.defect is None:
            continue
        findings.n_defective += 1
        if not result.image.masks:
            findings.missing.append(result.image.path)
            continue
        try:
            _check(result, findings)
        except UsageError as error:
            findings.unfit.append((result.image.path, str(error)))
    return findings


def _check(result: Result, findings: MaskFindings) -> None:
    """Raises UsageError where a mask can't be read or laid over its image."""
    marked = 0.0
    for path in result.image.masks:
        levels = mask_levels(path)
        if not has_aspect(levels, result.size):
            height, width = result.size
            raise UsageError(f"its mask is {levels.shape[1]}x{levels.shape[0]}, the image {width}x{height}")
        if levels.shape != result.size:
            findings.resized.append(path)
        if _is_gray(levels):
            findings.gray.append(path)
        marked += float((levels >= cut_of(levels)).mean())
    if marked > MOST_MARKED:
        findings.large.append(result.image.masks[0])
    if not marked:
        findings.empty.append(result.image.masks[0])


def _is_gray(levels: NDArray[np.uint8]) -> bool:
    """Where a mask has white, whether it has levels between black and white that count as black."""
    return cut_of(levels) == WHITE_FROM and bool(((levels > 0) & (levels < WHITE_FROM)).any())
