"""Frames for a bench: parts that are drawn (no file needed), or the images of a folder as they are.

A camera repeats its pictures in turn. They are more than the few equal pictures in a row by which a frozen camera is
known.
"""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inspector.demo.simulated_camera import image_files
from inspector.domain import printable
from inspector.errors import UsageError
from inspector.files import MOST_IMAGE_BYTES, read_regular

SIDE_PX: Final = 700
LEARNT: Final = 24
SHOWN: Final = 16
LEAST_SHOWN: Final = 6
MOST_LEARNT: Final = 60
JPEG_QUALITY: Final = 90


@dataclass(frozen=True, slots=True)
class Film:
    """One product's encoded pictures: those that it is enrolled from, and those that the cameras show."""

    product: str
    learnt: tuple[bytes, ...]
    shown: tuple[bytes, ...]


def drawn_film(number: int, product: str, side_px: int = SIDE_PX) -> Film:
    """Product number `number` as good parts: JPEG, `side_px` square, colour. The same number gives the same bytes."""
    every = tuple(_jpeg(drawn(number, seed, side_px)) for seed in range(LEARNT + SHOWN))
    return Film(product, every[:LEARNT], every[LEARNT:])


def drawn(number: int, seed: int, side_px: int) -> NDArray[np.uint8]:
    """A part on a plain ground, uint8 [side, side, 3]. Shape, texture and colour belong to the product.

    Place, light and grain differ from part to part.
    """
    of_part, of_product = np.random.default_rng([number, seed]), np.random.default_rng([number])
    centre = side_px / 2 + of_part.uniform(-0.006, 0.006, 2) * side_px
    rows, columns = np.mgrid[0:side_px, 0:side_px].astype(np.float32)
    y, x = (rows - centre[0]) / side_px, (columns - centre[1]) / side_px
    angle, period = of_product.uniform(0, np.pi), of_product.uniform(0.02, 0.09)
    waves = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period)
    texture = np.sign(waves) if number % 2 else waves
    reach = 0.33 + 0.02 * (number % 4)
    shape = (np.hypot(x, y), np.maximum(abs(x), abs(y)), abs(x) + abs(y))[number % 3] < reach
    colour = 255 * np.array(colorsys.hsv_to_rgb(number * 0.618 % 1, 0.35, 0.62), np.float32)
    ground = 40 + 20 * (number % 3)
    pixels = np.where(shape[..., None], colour + 22 * texture[..., None], np.float32(ground))
    pixels = pixels * of_part.uniform(0.98, 1.02) + of_part.normal(0, 2.5, (side_px, side_px, 1)).astype(np.float32)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def films_of(folder: Path, products: Sequence[str]) -> list[Film]:
    """Films from a folder's images: one for each name, from the subfolders in order, or one from the folder itself.

    A fifth of a set, and at least 6 images, is shown; the others are enrolled from. Raises UsageError for too few.
    """
    below = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    sets = below if len(products) > 1 else [folder]
    if len(sets) < len(products):
        raise UsageError(
            f"{printable(str(folder))} has {len(sets)} subfolders, and {len(products)} products were asked for; "
            "give each product a subfolder of its images, or ask for fewer with --products."
        )
    return [_film(name, path) for name, path in zip(products, sets, strict=False)]


def _film(product: str, folder: Path) -> Film:
    files = image_files(folder)
    count = max(LEAST_SHOWN, len(files) // 5)
    if len(files) < count + LEAST_SHOWN:
        raise UsageError(
            f"{printable(str(folder))} has {len(files)} images; a bench needs at least {count + LEAST_SHOWN}: some to "
            "enrol from, and others to show."
        )
    shown = files[:: len(files) // count][:count]
    chosen = set(shown)
    learnt = [path for path in files if path not in chosen][:MOST_LEARNT]
    return Film(product, tuple(map(_read, learnt)), tuple(map(_read, shown)))


def shown_of(product: str, folder: Path) -> Film:
    """All images of a folder as frames of a product that is enrolled already. Raises UsageError for too few."""
    files = image_files(folder)
    if len(files) < LEAST_SHOWN:
        raise UsageError(
            f"{printable(str(folder))} has {len(files)} images; a camera that shows fewer than {LEAST_SHOWN} in turn "
            "counts as frozen."
        )
    return Film(product, (), tuple(map(_read, files)))


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, MOST_IMAGE_BYTES, follows_links=True)
    except OSError as error:
        raise UsageError(f"{printable(str(path))} can't be read ({error.strerror}).") from error


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=JPEG_QUALITY)
    return out.getvalue()
