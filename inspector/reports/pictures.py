"""Images as data URIs, so that a report needs no file beside it."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray

from inspector.store.pictures.overlay import overlay_jpeg, small_jpeg

SIDE_PX = 260
"""Longest side of a picture in a report, so that a hundred pictures stay within a few megabytes."""


def frame_uri(payload: bytes, side_px: int = SIDE_PX) -> str:
    """The encoded image, reduced to `side_px`, as a data URI. Raises Undrawable."""
    return _uri(small_jpeg(payload, side_px))


def heat_uri(payload: bytes, heat_map: NDArray[np.uint8], side_px: int = SIDE_PX) -> str:
    """The image with the map drawn over it. `heat_map`: uint8 [h, w], 128 = threshold. Raises Undrawable."""
    return _uri(overlay_jpeg(payload, heat_map, side_px))


def _uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
