"""Parses what a person says about the framing: tiles, region of interest, mask, input size.

The words of the command line are parsed and checked; the result is a `Preparation`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import cv2
import numpy as np

from inspector.errors import UndecodableFrame, UsageError
from inspector.stream.decode import DecodeLimits, decode
from inspector.vision.images.preparation import MAX_TILES, Preparation, is_inside
from inspector.vision.serving.tiling import overlap_for

MASK_SIDE_PX = 1024
"""Largest side of a stored mask: it is finer than any map that the mask bounds."""
MASK_ASPECT_TOLERANCE = 0.02
LEAST_ROI_PX = 16
"""Least side of a region of interest: one cell of the coarsest grid. Smaller numbers were meant as shares."""


@dataclass(frozen=True, slots=True)
class Framing:
    """Choices that replace choices of the recipe. The default values replace nothing.

    `tiles`: rows and columns. `roi`: x, y, width, height, in pixels where `is_roi_px`, else as shares of the
    frame. `mask`: an encoded image over the whole frame, dark where nothing counts. `size_px`: side of the
    square that the backbone sees.
    """

    tiles: tuple[int, int] = (1, 1)
    roi: tuple[float, float, float, float] | None = None
    is_roi_px: bool = False
    mask: bytes | None = None
    size_px: int | None = None

    @property
    def needs_frame_size(self) -> bool:
        return self.is_roi_px or self.mask is not None

    def applied(self, preparation: Preparation, frame: tuple[int, int] | None = None) -> Preparation:
        """`preparation` with these choices. `frame`: (height, width), where `needs_frame_size`. Raises UsageError."""
        size_px = self.size_px or preparation.size_px
        is_tiled = self.tiles != (1, 1)
        return replace(
            preparation,
            size_px=size_px,
            tiles=self.tiles,
            overlap_px=overlap_for(size_px) if is_tiled else 0,
            roi=self._roi(frame),
            mask=None if self.mask is None else _small_mask(self.mask, frame),
        )

    def _roi(self, frame: tuple[int, int] | None) -> tuple[float, float, float, float] | None:
        if self.roi is None or not self.is_roi_px or frame is None:
            return self.roi
        x, y, width, height = self.roi
        shares = (x / frame[1], y / frame[0], width / frame[1], height / frame[0])
        if not is_inside(shares):
            raise UsageError(f"The region of interest does not lie within the frames of {frame[1]}x{frame[0]} pixels.")
        return shares


def parse_tiles(text: str) -> tuple[int, int]:
    """`4x6` -> 4 rows of 6. Raises UsageError."""
    found = re.fullmatch(r"(\d{1,3})[xX](\d{1,3})", text.strip())
    rows, columns = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= rows * columns <= MAX_TILES:
        raise UsageError(f"Tiles are ROWSxCOLUMNS, for example 4x6, at most {MAX_TILES} in all; not {text!r}.")
    return rows, columns


def parse_roi(text: str) -> tuple[tuple[float, float, float, float], bool]:
    """Reads `0.1,0.2,0.5,0.5` (shares of the frame) or `100,200,640,480` (pixels). Also says whether it is in pixels.

    Numbers of at most 1 are shares, because a region of one pixel makes no sense. Raises UsageError.
    """
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"A region of interest is x,y,width,height; not {text!r}.") from None
    is_px = max(width, height) > 1
    whole = all(value == int(value) for value in (x, y, width, height)) if is_px else True
    if is_px and min(width, height) < LEAST_ROI_PX:
        raise UsageError(
            f"The region of interest {text!r} is {width:g}x{height:g} pixels, less than {LEAST_ROI_PX} on a side; "
            "shares of the frame are from 0 to 1."
        )
    if not whole or min(x, y) < 0 or min(width, height) <= 0 or not (is_px or is_inside((x, y, width, height))):
        raise UsageError(
            f"The region of interest {text!r} must lie within the frame: shares from 0 to 1, or whole pixels."
        )
    return (x, y, width, height), is_px


def _small_mask(content: bytes, frame: tuple[int, int] | None) -> bytes:
    """The mask as a small black and white PNG. Raises UsageError."""
    try:
        gray = decode(content, DecodeLimits())[:, :, 0]
    except UndecodableFrame as error:
        raise UsageError("The mask is no whole JPEG or PNG image.") from error
    height, width = gray.shape
    if frame is not None and abs(width * frame[0] / (height * frame[1]) - 1.0) > MASK_ASPECT_TOLERANCE:
        raise UsageError(
            f"The mask is {width}x{height}, the frames are {frame[1]}x{frame[0]}: it must have their aspect."
        )
    scale = min(1.0, MASK_SIDE_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    counted = np.where(cv2.resize(gray, size, interpolation=cv2.INTER_NEAREST) > 127, np.uint8(255), np.uint8(0))
    if not counted.any():
        raise UsageError("The mask is dark everywhere, so that nothing would be looked at.")
    return bytes(cv2.imencode(".png", counted, [cv2.IMWRITE_PNG_BILEVEL, 1])[1])
