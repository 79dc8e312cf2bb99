"""Turns a frame's pixels into the canvas that squares for the passes are cut from, as the artifact's preparation says.

Enrolment, stream and evaluation call the same functions and get the same bits. A `Preparation` holds what a product may
choose: size, fit, exposure, tiles, region of interest. Without tiles the canvas is the square that the backbone sees.
A map over the canvas is brought back to the frame's own pixels by the same geometry.
"""

from __future__ import annotations

import base64
import binascii
import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.domain import Image
from inspector.errors import ArtifactError
from inspector.stream.decode import halvings
from inspector.vision.images.exposure import OUTSIDE, Exposure, expose
from inspector.vision.images.resizing import HALVING, Halving, Pyramid, resize

MAX_TILES = 256
OVERLAP_SHARE = 8
"""Neighbouring tiles share 1/8 of their side, so that a small defect on a seam lies completely in one of the tiles."""
OVERLAP_STEP_PX = 16
CELL_PX = 8

Fit = Literal["letterbox", "squash"]


@dataclass(frozen=True, slots=True)
class Preparation:
    """How a product's frames become the input of its main pass.

    `letterbox` keeps the aspect and fills the rest by reflection; a bar of constant colour would be the strongest edge
    in the picture. Banks and scores treat the reflection as part of the frame. `squash` stretches the frame. Shrinking
    averages pixels, which prevents aliasing; enlarging is bilinear. `normalised` brings each frame to one mean and
    contrast, after routing. `levelled` also removes large shadows and gradients first. `tiles`: rows and columns of
    squares of `size_px` that cover the frame; neighbours share `overlap_px`. `roi`: x, y, width, height of the region
    of interest, as shares of the frame. `mask`: PNG over the whole frame, of any size with the frame's aspect, black
    where pixels do not count. `halving`: who halves large frames; see `resizing.Halving`.
    """

    size_px: int = 256
    fit: Fit = "letterbox"
    exposure: Exposure = "as_is"
    tiles: tuple[int, int] = (1, 1)
    overlap_px: int = 0
    roi: tuple[float, float, float, float] | None = None
    mask: bytes | None = None
    halving: Halving = HALVING

    @property
    def canvas(self) -> tuple[int, int]:
        """(height, width) of a prepared frame in pixels; one square where there are no tiles."""
        rows, columns = self.tiles
        step = self.size_px - self.overlap_px
        return (rows - 1) * step + self.size_px, (columns - 1) * step + self.size_px

    @property
    def tile_count(self) -> int:
        return self.tiles[0] * self.tiles[1]

    def to_manifest(self) -> dict[str, Any]:
        """All fields, and a description in words of the steps that are the same for every product.

        Means of all pixels are described as before there was a choice, so that older versions keep their bytes.
        """
        described = {
            **asdict(self),
            "tiles": list(self.tiles),
            "roi": None if self.roi is None else list(self.roi),
            "mask": None if self.mask is None else base64.b64encode(self.mask).decode(),
            "colour": "RGB",
            "rotation_hint": "ignored",
            "filter": "halves, then the mean of four after bilinear to twice the size; bilinear up",
        }
        if self.halving == "mean":
            del described["halving"]
        return described

    @classmethod
    def from_manifest(cls, stored: Mapping[str, Any]) -> Preparation:
        """Raises ArtifactError for a preparation that this software does not know."""
        size_px, fit, exposure = stored.get("size_px"), stored.get("fit"), stored.get("exposure")
        halving = stored.get("halving", "mean")
        if halving not in ("decoder", "mean"):
            raise ArtifactError(f"The artifact wants large frames to be halved in an unknown way ({halving!r:.40}).")
        if fit not in ("letterbox", "squash") or exposure not in ("as_is", "normalised", "levelled"):
            raise ArtifactError(f"The artifact wants an unknown preparation (fit {fit!r}, exposure {exposure!r}).")
        if not isinstance(size_px, int) or not 32 <= size_px <= 4096:
            raise ArtifactError(f"The artifact wants an impossible input size of {size_px!r} px.")
        try:
            rows, columns = (int(count) for count in stored.get("tiles", (1, 1)))
            overlap_px, stored_roi = int(stored.get("overlap_px", 0)), stored.get("roi")
            roi = None if stored_roi is None else tuple(float(value) for value in stored_roi)
            mask = None if stored.get("mask") is None else base64.b64decode(stored["mask"], validate=True)
        except (TypeError, ValueError, binascii.Error) as error:
            raise ArtifactError("The artifact's tiles or region of interest can't be read.") from error
        found = cls(size_px, fit, exposure, (rows, columns), overlap_px, roi, mask, halving)  # type: ignore[arg-type]  # 4 of them, checked next
        found._check()
        return found

    def _check(self) -> None:
        rows, columns = self.tiles
        if rows < 1 or columns < 1 or rows * columns > MAX_TILES or not 0 <= self.overlap_px <= self.size_px // 2:
            raise ArtifactError(
                f"The artifact wants impossible tiles ({rows}x{columns}, overlap {self.overlap_px} px)."
            )
        if self.roi is not None and (len(self.roi) != 4 or not is_inside(self.roi)):
            raise ArtifactError(f"The artifact's region of interest {self.roi} does not lie within a frame.")
        if self.mask is not None:
            _open_mask(self.mask)


def is_inside(roi: tuple[float, float, float, float]) -> bool:
    """Whether a rectangle, given in shares of the frame, lies within the frame and is not empty."""
    x, y, width, height = roi
    return min(x, y) >= 0 and min(width, height) > 0 and x + width <= 1 + 1e-9 and y + height <= 1 + 1e-9


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a frame's region of interest lies in the prepared canvas, in pixels of the canvas."""

    left: int
    top: int
    width: int
    height: int


def crop_of(height: int, width: int, preparation: Preparation) -> tuple[slice, slice]:
    """Rows and columns of the region of interest in a frame (or map) of this size; at least one of each."""
    if preparation.roi is None:
        return slice(0, height), slice(0, width)
    x, y, share_w, share_h = preparation.roi
    return _span(y, share_h, height), _span(x, share_w, width)


def _span(start: float, share: float, length: int) -> slice:
    first = min(round(start * length), length - 1)
    return slice(first, min(length, max(first + 1, round((start + share) * length))))


def place(height: int, width: int, preparation: Preparation) -> Placement:
    """The rectangle of the canvas that a frame of this size (its region of interest) fills; all of it with `squash`."""
    rows, columns = crop_of(height, width, preparation)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    canvas_h, canvas_w = preparation.canvas
    if preparation.fit == "squash":
        return Placement(0, 0, canvas_w, canvas_h)
    scale = min(canvas_h / height, canvas_w / width)
    inner_w, inner_h = max(1, round(width * scale)), max(1, round(height * scale))
    return Placement((canvas_w - inner_w) // 2, (canvas_h - inner_h) // 2, inner_w, inner_h)


def prepare(frame: NDArray[np.uint8] | Image | Pyramid, preparation: Preparation) -> NDArray[np.uint8]:
    """A frame -> the canvas, uint8 [Hc, Wc, 3], C-contiguous, never a view of the frame. Raises UndecodableFrame."""
    pyramid = Pyramid.of(frame, preparation.halving)
    height, width = pyramid.size
    at = place(height, width, preparation)
    if preparation.roi is not None:
        pyramid = _region(pyramid, preparation, at)
    inner = resize(pyramid, at.width, at.height)
    counts = counted(preparation, height, width, (at.height, at.width))
    if counts is not None:
        inner = np.where(counts[:, :, None], inner, np.uint8(OUTSIDE))
    canvas_h, canvas_w = preparation.canvas
    right, bottom = canvas_w - at.left - at.width, canvas_h - at.top - at.height
    if at.left or at.top or right or bottom:
        inner = np.asarray(cv2.copyMakeBorder(inner, at.top, bottom, at.left, right, cv2.BORDER_REFLECT_101), np.uint8)
    if preparation.exposure != "as_is":
        return expose(np.asarray(inner, np.uint8), preparation.exposure, is_masked=preparation.mask is not None)
    return inner.copy() if pyramid.shares(inner) else np.ascontiguousarray(inner, dtype=np.uint8)


def _region(pyramid: Pyramid, preparation: Preparation, at: Placement) -> Pyramid:
    """The region of interest, cut from the frame or from the smallest half of its decoder that is large enough."""
    times = 0
    if preparation.halving == "decoder":
        rows, columns = crop_of(*pyramid.size, preparation)
        size = rows.stop - rows.start, columns.stop - columns.start
        times = min(pyramid.image.most_halvings, halvings(size, 2 * at.height, 2 * at.width))
    half = pyramid.half(times)
    return Pyramid(half[crop_of(half.shape[0], half.shape[1], preparation)], preparation.halving)


@functools.lru_cache(maxsize=8)
def counted(preparation: Preparation, height: int, width: int, shown: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Which pixels of a frame's region of interest count: bool [h, w] of size `shown`, read only. None means all."""
    if preparation.mask is None:
        return None
    whole = cv2.resize(_open_mask(preparation.mask), (width, height), interpolation=cv2.INTER_NEAREST)
    inside = whole[crop_of(height, width, preparation)]
    found = cv2.resize(inside, shown[::-1], interpolation=cv2.INTER_NEAREST) > 0
    found.flags.writeable = False
    return np.asarray(found, np.bool_)


def counted_cells(preparation: Preparation, cells: int) -> NDArray[np.bool_]:
    """Which of `cells` x `cells` parts of the whole frame count, at least half of each: bool; at least one does."""
    side = cells * CELL_PX
    counts = np.zeros((side, side), np.float32)
    rows, columns = crop_of(side, side, preparation)
    counts[rows, columns] = 1.0
    if preparation.mask is not None:
        counts *= cv2.resize(_open_mask(preparation.mask), (side, side), interpolation=cv2.INTER_NEAREST) > 0
    shares = cv2.resize(counts, (cells, cells), interpolation=cv2.INTER_AREA)
    return np.asarray(shares >= min(0.5, float(shares.max())), np.bool_)


@functools.lru_cache(maxsize=16)
def _open_mask(content: bytes) -> NDArray[np.uint8]:
    try:
        mask = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    except cv2.error as error:  # the mask has more pixels than OpenCV takes, or none
        raise ArtifactError("The artifact's mask can't be read or lets nothing count.") from error
    if mask is None or not mask.any():
        raise ArtifactError("The artifact's mask can't be read or lets nothing count.")
    return np.asarray(mask, np.uint8)


def restore_map(
    grid_map: NDArray[np.float32],
    preparation: Preparation,
    height: int,
    width: int,
    shown: tuple[int, int],
    outside: float = 0.0,
) -> NDArray[np.float32]:
    """A head's map [h, w] over the canvas, brought back to the frame, whose size is `height`, `width`.

    `shown`: (height, width) of the result: the frame's size, or a smaller size of the same aspect. `outside`: the value
    of pixels that are not inspected; where the map has a lower value, its lowest value is taken instead.
    """
    at = place(height, width, preparation)
    canvas = cv2.resize(grid_map, preparation.canvas[::-1], interpolation=cv2.INTER_LINEAR)
    inner = canvas[at.top : at.top + at.height, at.left : at.left + at.width]
    rows, columns = crop_of(*shown, preparation)
    size = (rows.stop - rows.start, columns.stop - columns.start)
    restored = np.asarray(cv2.resize(inner, size[::-1], interpolation=cv2.INTER_LINEAR), dtype=np.float32)
    outside = min(outside, float(restored.min()))  # the peak must not lie where nothing is inspected
    counts = counted(preparation, height, width, size)
    if counts is not None:
        restored[~counts] = outside
    if size == shown:
        return restored
    whole = np.full(shown, outside, np.float32)
    whole[rows, columns] = restored
    return whole
