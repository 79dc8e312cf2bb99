"""The one way from a frame's pixels to the square a backbone sees; stored in every artifact.

Enrolment, stream and evaluation call the same functions to the same bits. What the product may choose
(size, fit, exposure) is a `Preparation`; a map of the square comes back to the frame's own pixels by
the same geometry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.errors import ArtifactError

NORMALISED_MEAN = 128.0
NORMALISED_SPREAD = 50.0

Fit = Literal["letterbox", "squash"]
Exposure = Literal["as_is", "normalised"]


@dataclass(frozen=True, slots=True)
class Preparation:
    """How a product's frames become the input of its main pass.

    `letterbox` keeps the aspect and fills the rest by reflection (a bar of constant colour would be the
    strongest edge in the picture), which banks and scores take as they take the rest; `squash` stretches.
    Shrinking averages areas, which is its antialias; enlarging is bilinear. `normalised` brings each frame
    to one mean and contrast, after routing.
    """

    size_px: int = 256
    fit: Fit = "letterbox"
    exposure: Exposure = "as_is"

    def to_manifest(self) -> dict[str, Any]:
        """All fields, and in words what is the same for every product."""
        return {**asdict(self), "colour": "RGB", "rotation_hint": "ignored", "filter": "area down, bilinear up"}

    @classmethod
    def from_manifest(cls, stored: Mapping[str, Any]) -> Preparation:
        """Raises ArtifactError for a preparation that this software does not know."""
        size_px, fit, exposure = stored.get("size_px"), stored.get("fit"), stored.get("exposure")
        if fit not in ("letterbox", "squash") or exposure not in ("as_is", "normalised"):
            raise ArtifactError(f"The artifact wants an unknown preparation (fit {fit!r}, exposure {exposure!r}).")
        if not isinstance(size_px, int) or not 32 <= size_px <= 4096 or size_px % 16:
            raise ArtifactError(f"The artifact wants an impossible input size of {size_px!r} px.")
        return cls(size_px, fit, exposure)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the frame lies in its prepared square, in pixels of the square."""

    left: int
    top: int
    width: int
    height: int


def place(height: int, width: int, preparation: Preparation) -> Placement:
    """The rectangle that a frame of this size fills; the whole square when it is squashed."""
    size = preparation.size_px
    if preparation.fit == "squash":
        return Placement(0, 0, size, size)
    scale = size / max(height, width)
    inner_w, inner_h = max(1, round(width * scale)), max(1, round(height * scale))
    return Placement((size - inner_w) // 2, (size - inner_h) // 2, inner_w, inner_h)


def prepare(pixels: NDArray[np.uint8], preparation: Preparation) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] RGB -> uint8 [S, S, 3], C-contiguous, never a view of `pixels`."""
    height, width = pixels.shape[:2]
    at = place(height, width, preparation)
    inner = resize(pixels, at.width, at.height)
    if preparation.exposure == "normalised":
        inner = _normalise_exposure(inner)
    size = preparation.size_px
    right, bottom = size - at.left - at.width, size - at.top - at.height
    if at.left or at.top or right or bottom:
        bordered = cv2.copyMakeBorder(inner, at.top, bottom, at.left, right, cv2.BORDER_REFLECT_101)
        return np.ascontiguousarray(bordered, dtype=np.uint8)
    return inner.copy() if inner is pixels else np.ascontiguousarray(inner)


def resize(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """`pixels` at another size: areas averaged where it shrinks, bilinear where it grows."""
    if pixels.shape[:2] == (height, width):
        return pixels
    shrinks = width * height < pixels.shape[0] * pixels.shape[1]
    return np.asarray(
        cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR),
        dtype=np.uint8,
    )


def _normalise_exposure(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    mean, spread = float(pixels.mean()), float(pixels.std())
    gain = NORMALISED_SPREAD / max(spread, 1.0)  # a blank frame is not amplified into noise
    levels = (np.arange(256, dtype=np.float32) - mean) * gain + NORMALISED_MEAN
    table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(pixels, table), dtype=np.uint8)


def restore_map(
    grid_map: NDArray[np.float32], preparation: Preparation, height: int, width: int, shown: tuple[int, int]
) -> NDArray[np.float32]:
    """A head's map [h, w] over the prepared square of a frame of this size, as a map over the frame itself.

    `shown`: (height, width) of the result, the frame's own or a smaller one of its aspect.
    """
    at = place(height, width, preparation)
    size = preparation.size_px
    square = cv2.resize(grid_map, (size, size), interpolation=cv2.INTER_LINEAR)
    inner = square[at.top : at.top + at.height, at.left : at.left + at.width]
    return np.asarray(cv2.resize(inner, shown[::-1], interpolation=cv2.INTER_LINEAR), dtype=np.float32)
