"""Measures of a whole frame, made from its routing copy in well under a millisecond.

Pure. Nothing here knows a product: a measure says what a frame is like, and `checks` says what good frames are like.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Matrix = NDArray[np.integer[Any] | np.floating[Any]]
"""What OpenCV's stubs say that its functions return."""

BLOCKS = 16
"""A frame has 16 x 16 blocks."""
EDGE_SIDE_PX = 64
NEAR_PX = 3
"""A shift of up to 3 of 64 px is none: parts do not lie exactly alike, and a template of many images is soft."""

_WHITE_FROM = 240
"""A white pixel of the copy is the mean of several pixels of the frame, of which a few may be darker."""
_FINE_PX, _COARSE_PX = (5, 1.0), (9, 2.0)
"""Width and sigma of the filters that remove fine and coarse detail."""
_LEAST_ENERGY = 0.02
"""Noise of quantisation. Below it an even frame has neither fine nor coarse detail."""
_DEEPEST_LEVEL = 0.5
_TEXTURE_GAIN = 20.0
"""One doubling of a block's contrast counts as much as 20 of 255 levels of brightness."""
_TEXTURE_FLOOR = 2.0
_EVEN = 1e-6


class Look:
    """A frame as the measures see it. `copy`: its routing copy, uint8 [S, S, 3] RGB.

    `counted`: bool [16, 16], the blocks that brightness and detail are taken from: those in the region of interest.
    `means`: float32 [16, 16], brightness of all blocks.
    """

    def __init__(self, copy: NDArray[np.uint8], counted: NDArray[np.bool_]) -> None:
        self._gray = cv2.cvtColor(copy, cv2.COLOR_RGB2GRAY)
        self._levels = self._gray.astype(np.float32)
        self._counted = counted
        self.means = _of_blocks(self._levels)

    def brightness(self) -> float:
        """Mean level of the counted blocks, 0 to 255, and at least half a level."""
        return max(float(self.means[self._counted].mean()), _DEEPEST_LEVEL)

    def saturation(self) -> float:
        """Share of the pixels that are white, 0 to 1: no detail of the part is left there."""
        white = (self._gray >= _WHITE_FROM).astype(np.float32)
        return float(_of_blocks(white)[self._counted].mean())

    def fineness(self) -> float:
        """Energy of fine detail relative to that of coarse detail, as a logarithm to base 2.

        A lens out of focus removes fine detail first. A change of light or contrast changes both alike.
        """
        fine, coarse = (
            cv2.GaussianBlur(self._levels, (width, width), sigma) for width, sigma in (_FINE_PX, _COARSE_PX)
        )
        energies = [
            float(_of_blocks(cv2.multiply(band, band))[self._counted].mean()) + _LEAST_ENERGY
            for band in (self._levels - fine, fine - coarse)
        ]
        return float(np.log2(energies[0] / energies[1]))

    def edges(self) -> Floats:
        """Strength of the edges, float32 [64, 64], of mean 0 and length 1. All 0 for an even frame."""
        small = cv2.resize(self._levels, (EDGE_SIDE_PX, EDGE_SIDE_PX), interpolation=cv2.INTER_AREA)
        across, down = cv2.Sobel(small, cv2.CV_32F, 1, 0), cv2.Sobel(small, cv2.CV_32F, 0, 1)
        # The last digit of OpenCV's own magnitude depends on where the array lies in memory.
        strength = np.sqrt(across * across + down * down)
        strength -= strength.mean()
        strength[[0, -1], :] = strength[:, [0, -1]] = 0.0
        length = _length(strength)
        return np.asarray(strength / length if length > _EVEN else np.zeros_like(strength), np.float32)

    def blocks(self) -> NDArray[np.uint8]:
        """Brightness and texture of each block, uint8 [2, 16, 16]. Differences of both are alike in weight."""
        squares = _of_blocks(cv2.multiply(self._levels, self._levels))
        spread = np.sqrt(np.maximum(squares - self.means * self.means, 0.0))
        texture = _TEXTURE_GAIN * np.log2(spread + _TEXTURE_FLOOR)
        rounded = np.rint(np.stack([self.means, texture]))
        return np.asarray(np.clip(rounded, 0, 255), np.uint8)


def shift_gain(edges: Floats, template: NDArray[np.complex64]) -> float:
    """How much better the edges match the template when they are shifted than where they are, as a correlation.

    0 where no shift is better; near 1 where the frame is the template at another place. `template`: `spectrum` of the
    edges of good images.
    """
    match = np.fft.irfft2(np.fft.rfft2(edges) * template, s=(EDGE_SIDE_PX, EDGE_SIDE_PX))
    near = np.roll(match, (NEAR_PX, NEAR_PX), axis=(0, 1))[: 2 * NEAR_PX + 1, : 2 * NEAR_PX + 1]
    return float(match.max() - near.max())


def most_shift_gain(edges: Floats, template: Floats) -> float:
    """A bound of `shift_gain` for a fiftieth of its cost. `template`: the edges of good images, not their spectrum.

    Both have length 1 here, so no shift matches better than 1.
    """
    length = _length(template)
    return 1.0 - float(np.vdot(edges, template)) / max(length, _EVEN)


def spectrum(edges: Floats) -> NDArray[np.complex64]:
    """What `shift_gain` compares edges [64, 64] with."""
    length = _length(edges)
    return np.asarray(np.conj(np.fft.rfft2(edges / max(length, _EVEN))), np.complex64)


def block_distance(blocks: NDArray[np.uint8], good: NDArray[np.uint8]) -> Floats:
    """Distance of each block from the nearest good image's block at its place, float32 [16, 16].

    `good`: uint8 [R, 2, 16, 16], the blocks of good images.
    """
    apart = good - blocks.astype(np.float32)
    return np.asarray(np.sqrt(np.einsum("rcyx,rcyx->ryx", apart, apart).min(axis=0)), np.float32)


def largest_area(is_far: NDArray[np.bool_], counted: NDArray[np.bool_]) -> float:
    """The largest connected area of far blocks, as a share of the counted ones."""
    far = (is_far & counted).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(far, connectivity=4)
    return 0.0 if count < 2 else float(stats[1:, cv2.CC_STAT_AREA].max()) / int(counted.sum())


def _length(edges: Floats) -> float:
    """Euclidean length, whose last digit must not depend on where the array lies in memory, as a BLAS norm's may."""
    return float(np.sqrt(np.sum(np.square(edges, dtype=np.float64))))


def _of_blocks(values: Matrix) -> Floats:
    """Means of the blocks, float32 [16, 16], of float32 values [S, S]."""
    return np.asarray(cv2.resize(values, (BLOCKS, BLOCKS), interpolation=cv2.INTER_AREA), np.float32)
