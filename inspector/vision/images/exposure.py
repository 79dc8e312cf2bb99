"""Brings the light of a canvas to one mean and contrast, for products that chose this."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

OUTSIDE = 128
"""The value of all pixels outside the mask, so that nothing there can reach a score."""
NORMALISED_MEAN = 128.0
NORMALISED_SPREAD = 50.0
LAMP_CELL_PX = 8
LAMP_SIGMA_CELLS = 4.0
"""`levelled` treats changes over more than 32 px of the canvas as light, and smaller changes as the part itself."""
Exposure = Literal["as_is", "normalised", "levelled"]


def expose(canvas: NDArray[np.uint8], exposure: Exposure, *, is_masked: bool) -> NDArray[np.uint8]:
    """A prepared canvas at this exposure. In a masked canvas only the pixels that count are changed."""
    if exposure == "as_is":
        return canvas
    return (normalise_exposure if exposure == "normalised" else level_exposure)(canvas, is_masked=is_masked)


def level_exposure(canvas: NDArray[np.uint8], *, is_masked: bool) -> NDArray[np.uint8]:
    """A prepared canvas without its large shadows and gradients, brought to one mean and contrast.

    The estimate of the light is the gray image, averaged over cells and smoothed. Masked pixels are left out of it.
    """
    gray = np.asarray(cv2.cvtColor(canvas, cv2.COLOR_RGB2GRAY), np.uint8)
    outside = (canvas == OUTSIDE).all(axis=2) if is_masked else None
    counts = None if outside is None else (~outside).astype(np.uint8)
    if counts is None:
        light = _lamp(gray.astype(np.float32))
    else:
        share = np.maximum(_lamp(counts.astype(np.float32)), np.float32(1e-3))
        light = np.asarray(cv2.divide(_lamp((gray * counts).astype(np.float32)), share), np.float32)
    _, spread = cv2.meanStdDev(cv2.subtract(gray, light, dtype=cv2.CV_32F), mask=counts)
    gain = NORMALISED_SPREAD / max(float(spread[0, 0]), 1.0)  # a blank frame is not amplified into noise
    shift = cv2.merge([light * np.float32(-gain) + np.float32(NORMALISED_MEAN)] * 3)
    # This call rounds, and limits values to 0..255.
    levelled = cv2.addWeighted(canvas.astype(np.float32), gain, shift, 1.0, 0.0, dtype=cv2.CV_8U)
    if outside is not None:
        levelled[outside] = OUTSIDE
    return np.asarray(levelled, np.uint8)


def _lamp(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """A plane [h, w] without its details: averaged over cells, smoothed, and enlarged again."""
    height, width = plane.shape
    cells = (max(1, width // LAMP_CELL_PX), max(1, height // LAMP_CELL_PX))
    small = cv2.resize(plane, cells, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), LAMP_SIGMA_CELLS, borderType=cv2.BORDER_REFLECT)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def normalise_exposure(canvas: NDArray[np.uint8], *, is_masked: bool) -> NDArray[np.uint8]:
    """A prepared canvas brought to one mean and contrast. In a masked canvas only the pixels that count are changed."""
    outside = (canvas == OUTSIDE).all(axis=2) if is_masked else None
    # The canvas is taken as one plane, so that all three channels share one mean and one spread.
    counts = None if outside is None else np.repeat(~outside, 3, axis=1).astype(np.uint8)
    found_mean, found_spread = cv2.meanStdDev(canvas.reshape(canvas.shape[0], -1), mask=counts)
    mean, spread = float(found_mean[0, 0]), float(found_spread[0, 0])
    gain = NORMALISED_SPREAD / max(spread, 1.0)  # a blank frame is not amplified into noise
    levels = (np.arange(256, dtype=np.float32) - mean) * gain + NORMALISED_MEAN
    exposed = cv2.LUT(canvas, np.clip(np.rint(levels), 0, 255).astype(np.uint8))
    if outside is not None:
        exposed[outside] = OUTSIDE
    return np.asarray(exposed, dtype=np.uint8)
