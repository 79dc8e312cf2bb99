"""Shrinks and enlarges frames. Large frames are halved first."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


class Pyramid:
    """A frame and its halves. Each half is made once, because routing and head both need the halves of a large frame.

    `pixels`: uint8 [H, W, 3], not changed while the pyramid is in use. `halves`: halves made so far, the frame first.
    """

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.pixels = pixels
        self.halves = [pixels]

    @classmethod
    def of(cls, frame: NDArray[np.uint8] | Pyramid) -> Pyramid:
        return frame if isinstance(frame, Pyramid) else cls(frame)

    def nearest(self, width: int, height: int) -> NDArray[np.uint8]:
        """The smallest half that has at least this width and height; the frame itself where no half is that large."""
        level = 0
        while min(self.pixels.shape[0] // height, self.pixels.shape[1] // width) >> (level + 1):
            level += 1
            if level == len(self.halves):
                self.halves.append(_halved(self.halves[-1], down=True, across=True))
        return self.halves[level]


def resize(frame: NDArray[np.uint8] | Pyramid, width: int, height: int, *, most: int = 4) -> NDArray[np.uint8]:
    """A frame at another size.

    A frame that shrinks is halved while it is at least `most` times as large as wanted. Then it is brought to twice the
    wanted size (bilinear), and each group of four pixels becomes their mean. A frame that grows is enlarged bilinearly.

    An area filter in one step costs half a pass of the backbone, because OpenCV is slow for factors that are not whole
    numbers; it detects defects no better. More halving would be quicker still but blurs the traces of small defects.
    With `most` 8 a frame is halved less often. Then fine features may alias, which is harmless where only large
    features matter.
    """
    pixels = Pyramid.of(frame).nearest(width * most // 2, height * most // 2)
    if pixels.shape[:2] == (height, width):
        return pixels
    while (down := pixels.shape[0] >= most * height) | (across := pixels.shape[1] >= most * width):
        pixels = _halved(pixels, down=down, across=across)  # only for a frame much longer than the wanted size
    down, across = pixels.shape[0] > height, pixels.shape[1] > width
    return _halved(_bilinear(pixels, width * (1 + across), height * (1 + down)), down=down, across=across)


def _bilinear(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _halved(pixels: NDArray[np.uint8], *, down: bool, across: bool) -> NDArray[np.uint8]:
    """Means of two neighbours along the chosen axes. An odd last row or column is taken twice."""
    if not (down or across):
        return pixels
    more_rows, more_columns = pixels.shape[0] % 2 * down, pixels.shape[1] % 2 * across
    if more_rows or more_columns:
        pixels = np.asarray(cv2.copyMakeBorder(pixels, 0, more_rows, 0, more_columns, cv2.BORDER_REPLICATE), np.uint8)
    size = (pixels.shape[1] // (1 + across), pixels.shape[0] // (1 + down))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
