"""Shrinks and enlarges frames. Large frames are halved first."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.domain import Image, PlainImage
from inspector.stream.decode import halvings

Halving = Literal["decoder", "mean"]
"""Who makes the halves of a frame.

`decoder`: the decoder of a JPEG, while it decodes, which costs a part of decoding all pixels. Halves beyond what it can
make, and those of a PNG, are means of four pixels. `mean`: all halves are means, as for versions that were enrolled
before decoders were asked.
"""

HALVING: Halving = "decoder"
"""For new versions."""


class Pyramid:
    """A frame and its halves. Each half is made once, because routing and head both need the halves of a large frame.

    Pixels that are given must not change while the pyramid is in use.
    """

    def __init__(self, frame: NDArray[np.uint8] | Image, halving: Halving = HALVING) -> None:
        self.image: Image = PlainImage(frame) if isinstance(frame, np.ndarray) else frame
        self.halving = halving
        self._halves: dict[int, NDArray[np.uint8]] = {}

    @classmethod
    def of(cls, frame: NDArray[np.uint8] | Image | Pyramid, halving: Halving = HALVING) -> Pyramid:
        """The frame's pyramid with these halves; the frame itself where it is one."""
        if not isinstance(frame, Pyramid):
            return cls(frame, halving)
        return frame if frame.halving == halving else cls(frame.image, halving)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frame in pixels."""
        return self.image.size

    def half(self, times: int) -> NDArray[np.uint8]:
        """The frame with its sides halved so often, [h, w, 3]; the frame itself for 0. Raises UndecodableFrame."""
        if times not in self._halves:
            is_decoders = self.halving == "decoder" and times <= self.image.most_halvings
            self._halves[times] = (
                self.image.halved(times)
                if is_decoders or not times
                else _halved(self.half(times - 1), down=True, across=True)
            )
        return self._halves[times]

    def nearest(self, width: int, height: int) -> NDArray[np.uint8]:
        """The smallest half that has at least this width and height; the frame itself where no half is that large."""
        return self.half(halvings(self.size, height, width))

    def shares(self, pixels: NDArray[np.uint8]) -> bool:
        """Whether these pixels may be those of the frame or of a half."""
        return any(np.may_share_memory(pixels, each) for each in self._halves.values())


def resize(frame: NDArray[np.uint8] | Image | Pyramid, width: int, height: int, *, most: int = 4) -> NDArray[np.uint8]:
    """A frame at another size.

    A frame that shrinks is halved while it is at least `most` times as large as wanted. Then it is brought to twice the
    wanted size (bilinear), and each group of four pixels becomes their mean. A frame that grows is enlarged bilinearly.

    An area filter in one step costs half a pass of the backbone, because OpenCV is slow for factors that are not whole
    numbers; it detects defects no better. More halving would be quicker still but blurs the traces of small defects.
    With `most` 8 a frame is halved less often. Then fine features may alias, which is harmless where only large
    features matter.
    """
    pyramid = frame if isinstance(frame, Pyramid) else Pyramid(frame)
    pixels = pyramid.nearest(width * most // 2, height * most // 2)
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
