"""Draws defects on frames before the frames are prepared, at most at twice the resolution that a head sees.

Finer strokes would be averaged away by the preparation, and memory stays bounded whatever the camera's resolution.
Knows nothing of heads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inspector.training.defects.drawing import DefectKind, draw
from inspector.vision.images.preparation import Preparation
from inspector.vision.images.resizing import Pyramid, resize

DRAWN_SIDE = 2
MOST_DRAWN_PX = 2048
"""A frame is drawn on at no more than twice the resolution that the head sees, and never larger than this."""
CROP_SIDES = 4.0
SMALLEST_CROP_PX = 96


def drawn_side_px(preparation: Preparation) -> int:
    """The longer side, at most, of a frame that is drawn on for a head of this preparation."""
    return min(MOST_DRAWN_PX, max(DRAWN_SIDE * preparation.size_px, *preparation.canvas))


@dataclass(frozen=True, slots=True)
class Ground:
    """A frame to draw on, uint8 [h, w, 3]. `scale`: side of one of its pixels in pixels of the camera's frame."""

    pixels: NDArray[np.uint8]
    scale: float

    @classmethod
    def within(cls, frame: NDArray[np.uint8] | Pyramid, side_px: int) -> Ground:
        """The frame itself, or smaller, so that its longer side is `side_px`."""
        pyramid = Pyramid.of(frame)
        height, width = pyramid.size
        if max(height, width) <= side_px:
            return cls(pyramid.half(0), 1.0)
        scale = max(height, width) / side_px
        return cls(resize(pyramid, max(1, round(width / scale)), max(1, round(height / scale))), scale)


def plant(
    kind: DefectKind,
    pixels: NDArray[np.uint8],
    size_px: float,
    rng: np.random.Generator,
    at: tuple[int, int] | None = None,
) -> tuple[NDArray[np.uint8], tuple[int, int]] | None:
    """The frame with one defect centred `at` (x, y) or anywhere, and where it is; None where it can't be seen.

    Most defects are drawn in a crop, so that the cost depends on the defect and not on the frame. Kinds that copy
    pixels from elsewhere (a displaced piece, the background of a missing piece) are drawn on the whole frame.
    """
    height, width = pixels.shape[:2]
    x, y = at if at is not None else (int(rng.integers(width)), int(rng.integers(height)))
    size_px = max(1.0, size_px)
    if kind in (DefectKind.CUT_PASTE, DefectKind.MISSING):
        planted = draw(kind, pixels, size_px, rng, (x, y))
        return (planted.image, (x, y)) if planted.mask.any() else None
    reach = round(max(SMALLEST_CROP_PX, CROP_SIDES * size_px) / 2)
    left, top = max(0, x - reach), max(0, y - reach)
    window = (slice(top, min(height, y + reach)), slice(left, min(width, x + reach)))
    planted = draw(kind, np.ascontiguousarray(pixels[window]), size_px, rng, (x - left, y - top))
    if not planted.mask.any():
        return None
    frame = pixels.copy()
    frame[window] = planted.image
    return frame, (x, y)
