"""Makes a frame look as if camera or light had a fault. The same at any resolution, from a routing copy to a frame.

Pure; chance comes from the generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.domain import FrameFault

Pixels = NDArray[np.uint8]

LIGHT_LEFT: Final = 0.25
"""Share of the light that reaches a dark frame."""
OVEREXPOSED: Final = 3.0
"""A bright frame got this many times its light."""
BLUR_SHARE: Final = 1 / 64
"""Sigma of a blurred frame, as a share of its side: 11 px of 700."""
SHIFT_SHARE: Final = 0.15
"""How far a moved frame is shifted, as a share of its side."""
COVERED_SHARE: Final = 0.4
"""Share of a covered frame that the cover hides."""
_COVER_LEVELS = (0.0, 220.0)
_LEVELS_ACROSS_COVER = 20.0
_GRAIN_LEVELS = 1.0


def make_faulty(fault: FrameFault, pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """The frame, uint8 [H, W, 3], with the fault. A new array. Raises KeyError for a fault that no one frame shows."""
    return _MAKERS[fault](pixels, rng)


def _dark(pixels: Pixels, _rng: np.random.Generator) -> Pixels:
    return _lit(pixels, LIGHT_LEFT)


def _bright(pixels: Pixels, _rng: np.random.Generator) -> Pixels:
    return _lit(pixels, OVEREXPOSED)


def _lit(pixels: Pixels, gain: float) -> Pixels:
    levels = np.clip(np.rint(np.arange(256) * gain), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(pixels, levels), np.uint8)


def _blurred(pixels: Pixels, _rng: np.random.Generator) -> Pixels:
    height, width = pixels.shape[:2]
    sigmas = {"sigmaX": width * BLUR_SHARE, "sigmaY": height * BLUR_SHARE}
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), borderType=cv2.BORDER_REFLECT_101, **sigmas), np.uint8)


def _moved(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    height, width = pixels.shape[:2]
    across, sign = bool(rng.integers(2)), rng.choice((-1, 1))
    by = (sign * SHIFT_SHARE * width, 0.0) if across else (0.0, sign * SHIFT_SHARE * height)
    matrix = np.array([[1, 0, np.rint(by[0])], [0, 1, np.rint(by[1])]], np.float32)
    # What comes into view is not known. Repeating the border adds no edge that would give the shift away.
    moved = cv2.warpAffine(pixels, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


def _covered(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """A rectangle of chance place, proportions and level hides part of the view; its light falls off a little.

    A white cover is left out: that would be an overexposed frame as well.
    """
    height, width = pixels.shape[:2]
    tall = float(np.clip(np.sqrt(COVERED_SHARE) * np.exp(rng.uniform(-0.4, 0.4)), COVERED_SHARE, 1.0))
    rows, columns = round(tall * height), round(COVERED_SHARE / tall * width)
    top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
    fall = rng.uniform(-_LEVELS_ACROSS_COVER, _LEVELS_ACROSS_COVER, 2)
    cover = (
        rng.uniform(*_COVER_LEVELS) + fall[0] * np.linspace(0, 1, rows)[:, None] + fall[1] * np.linspace(0, 1, columns)
    )
    cover = np.clip(cover + rng.normal(0, _GRAIN_LEVELS, cover.shape), 0, 255)
    found = pixels.copy()
    found[top : top + rows, left : left + columns] = cover[..., None].astype(np.uint8)
    return found


_MAKERS: Final[dict[FrameFault, Callable[[Pixels, np.random.Generator], Pixels]]] = {
    FrameFault.DARK: _dark,
    FrameFault.BRIGHT: _bright,
    FrameFault.BLURRED: _blurred,
    FrameFault.MOVED: _moved,
    FrameFault.COVERED: _covered,
}
