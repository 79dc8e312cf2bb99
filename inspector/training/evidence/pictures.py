"""Pictures of an enrolment for people: pixels as encoded bytes, with a ring around what is meant."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

RING = (255, 40, 160)
"""Hardly a part's own colour."""


def encoded(pixels: NDArray[np.uint8]) -> bytes:
    """uint8 [H, W, 3] RGB -> PNG bytes."""
    is_done, content = cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]))
    if not is_done:
        raise ValueError("the pixels can't be encoded as PNG")
    return content.tobytes()


def ringed(pixels: NDArray[np.uint8], centre: tuple[float, float], radius_px: float) -> NDArray[np.uint8]:
    """A copy with a thin ring around `centre` (x, y) in pixels."""
    shown = pixels.copy()
    thickness = max(1, round(max(pixels.shape[:2]) / 200))
    at = (round(centre[0]), round(centre[1]))
    cv2.circle(shown, at, max(3, round(radius_px)), RING, thickness, cv2.LINE_AA)
    return shown


def blind_heat(shares_found: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Shares found [g, g] as a map uint8 [h, w] of what is missed: 128 = half, 255 = all."""
    missed = (1.0 - shares_found).astype(np.float32)
    spread = cv2.resize(missed, size[::-1], interpolation=cv2.INTER_NEAREST)
    return np.asarray(np.clip(np.rint(spread * 255), 0, 255), np.uint8)
