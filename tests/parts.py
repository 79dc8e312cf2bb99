"""Procedural parts for tests: two products on a plain ground, good ones and scratched ones. No image files."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE_PX = 160


def part(product: str, seed: int, is_good: bool = True) -> NDArray[np.uint8]:
    """uint8 [160, 160, 3] of a `disc` or a `bar` with grain of its own; a bad one has a dark gash."""
    rng = np.random.default_rng([seed, 0 if product == "disc" else 1])
    rows, columns = np.mgrid[0:SIDE_PX, 0:SIDE_PX].astype(np.float32)
    centre = SIDE_PX / 2 + rng.uniform(-2, 2, size=2)
    if product == "disc":
        radius = np.hypot(rows - centre[0], columns - centre[1])
        shape, texture = radius < 58, 18 * np.sin(radius / 3.0)
        colour = np.array((150, 140, 120), dtype=np.float32)
    else:
        shape = (np.abs(rows - centre[0]) < 34) & (np.abs(columns - centre[1]) < 66)
        texture, colour = 18 * np.sign(np.sin(columns / 4.0)), np.array((110, 130, 165), dtype=np.float32)
    pixels = np.where(shape[..., None], colour + texture[..., None], 40.0)
    pixels += rng.normal(0, 3, size=pixels.shape) + rng.uniform(-3, 3)
    if not is_good:
        at = centre + rng.uniform(-20, 20, size=2)
        gash = (np.abs(rows - at[0] - (columns - at[1]) * 0.4) < 5) & (np.abs(columns - at[1]) < 22)
        pixels[gash] = (235, 60, 50)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def encoded(product: str, seed: int, is_good: bool = True, kind: str = "JPEG") -> bytes:
    """The part as a camera sends it."""
    out = io.BytesIO()
    Image.fromarray(part(product, seed, is_good)).save(out, kind, **({"quality": 92} if kind == "JPEG" else {}))
    return out.getvalue()
