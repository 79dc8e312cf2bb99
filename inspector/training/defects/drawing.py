"""Defects drawn on good images, which show what a head would find while no defective part exists yet.

Five kinds that are common on lines: scratches, spots, pieces of the part in the wrong place, smears, missing pieces.
Contrast and place are random; the caller gives the size. They stand in for real defects in two ways only: to choose
between heads on held-out good images, and to say how small a defect of this kind is still found. Nothing is learnt
from them, and the share of them that is found is no plant's escape rate.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

VISIBLE_LEVELS = 4
"""A pixel belongs to the defect where one of its channels moved by at least this many of 255 levels."""
TRIES = 8


class DefectKind(enum.StrEnum):
    """What is drawn."""

    SCRATCH = "scratch"
    SPOT = "spot"
    CUT_PASTE = "cut_paste"
    SMEAR = "smear"
    MISSING = "missing"


KIND_NAMES = {
    DefectKind.SCRATCH: "scratch",
    DefectKind.SPOT: "spot",
    DefectKind.CUT_PASTE: "piece in the wrong place",
    DefectKind.SMEAR: "smear",
    DefectKind.MISSING: "missing piece",
}


@dataclass(frozen=True, slots=True)
class Planted:
    """A good image with one defect in it. `image`: uint8 [H, W, 3]; `mask`: bool [H, W], where it changed."""

    image: Pixels
    mask: Mask


def draw(
    kind: DefectKind,
    image: Pixels,
    size_px: float,
    rng: np.random.Generator,
    at: tuple[int, int] | None = None,
) -> Planted:
    """`image` (uint8 [H, W, 3], untouched) with one defect about `size_px` long, centred `at` (x, y) or anywhere.

    Where it happens to be invisible (a piece moved onto its like), it is drawn anew a few times, elsewhere if
    `at` is None; `mask` is empty when that did not help. Raises ValueError for a size below one pixel.
    """
    if size_px < 1:
        raise ValueError("a defect is at least one pixel long")
    height, width = image.shape[:2]
    changed = image
    for _ in range(TRIES):
        centre = at if at is not None else (int(rng.integers(width)), int(rng.integers(height)))
        changed = _PAINTERS[kind](image, size_px, centre, rng)
        apart = cv2.absdiff(changed, image) >= VISIBLE_LEVELS
        moved = apart[..., 0] | apart[..., 1] | apart[..., 2]
        if moved.any():
            return Planted(changed, moved)
    return Planted(changed, np.zeros((height, width), np.bool_))


def _scratch(image: Pixels, size_px: float, centre: tuple[int, int], rng: np.random.Generator) -> Pixels:
    """A thin line with a bend, lighter or darker than what it crosses."""
    angle, bend = rng.uniform(0, math.pi), rng.normal(0, 0.15)
    along = np.linspace(-0.5, 0.5, 16) * size_px
    across = bend * size_px * ((along / size_px) ** 2 * 4 - 1)
    x = centre[0] + along * math.cos(angle) - across * math.sin(angle)
    y = centre[1] + along * math.sin(angle) + across * math.cos(angle)
    alpha = np.zeros(image.shape[:2], np.uint8)
    thickness = max(1, round(size_px * rng.uniform(0.02, 0.08)))
    points = np.rint(np.stack([x, y], axis=1) * 16).astype(np.int32)
    cv2.polylines(alpha, [points], isClosed=False, color=255, thickness=thickness, lineType=cv2.LINE_AA, shift=4)
    return _shifted(image, alpha.astype(np.float32) / 255.0, _contrast(rng, 30, 110))


def _spot(image: Pixels, size_px: float, centre: tuple[int, int], rng: np.random.Generator) -> Pixels:
    """A blot with soft edges, in a colour cast where the image has colours."""
    alpha = _blot(image.shape[:2], size_px, centre, rng)
    is_gray = bool((image == image[..., :1]).all())
    cast = np.zeros(3) if is_gray else rng.normal(0, 8, 3)
    return _shifted(image, alpha, _contrast(rng, 20, 90) + cast)


def _cut_paste(image: Pixels, size_px: float, centre: tuple[int, int], rng: np.random.Generator) -> Pixels:
    """A piece of the same image, turned, where it does not belong."""
    height, width = image.shape[:2]
    dx, dy = (int(rng.integers(width)) - centre[0], int(rng.integers(height)) - centre[1])
    turn = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), float(rng.uniform(-45, 45)), 1.0)
    turn[:, 2] = turn[:, 2] - turn[:, :2] @ np.array([dx, dy], np.float64)
    moved = cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return _mixed(image, moved.astype(np.float32), _blot((height, width), size_px, centre, rng, softness=0.08))


def _smear(image: Pixels, size_px: float, centre: tuple[int, int], rng: np.random.Generator) -> Pixels:
    """The pixels at one place, smeared along one direction."""
    length = max(3, round(size_px * rng.uniform(0.3, 0.8)))
    kernel = np.zeros((2 * length + 1, 2 * length + 1), np.float32)
    angle = rng.uniform(0, 2 * math.pi)
    tip = (length + round(length * math.cos(angle)), length + round(length * math.sin(angle)))
    cv2.line(kernel, (length, length), tip, 1.0)
    dragged = cv2.filter2D(image, cv2.CV_32F, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)
    return _mixed(image, np.asarray(dragged, np.float32), _blot(image.shape[:2], size_px, centre, rng))


def _missing(image: Pixels, size_px: float, centre: tuple[int, int], rng: np.random.Generator) -> Pixels:
    """A piece broken out: what lies behind the part, taken from the image's border, shows through."""
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    noise = rng.standard_normal(image.shape, np.float32) * np.float32(max(1.0, float(border.std()) * 0.1))
    behind = np.asarray(np.median(border, axis=0) + noise, np.float32)
    return _mixed(image, behind, _blot(image.shape[:2], size_px, centre, rng, softness=0.05))


_PAINTERS: dict[DefectKind, Callable[[Pixels, float, tuple[int, int], np.random.Generator], Pixels]] = {
    DefectKind.SCRATCH: _scratch,
    DefectKind.SPOT: _spot,
    DefectKind.CUT_PASTE: _cut_paste,
    DefectKind.SMEAR: _smear,
    DefectKind.MISSING: _missing,
}


def _blot(
    shape: tuple[int, ...], size_px: float, centre: tuple[int, int], rng: np.random.Generator, softness: float = 0.2
) -> NDArray[np.float32]:
    """Float32 [H, W] in [0, 1]: an uneven round shape about `size_px` across, soft at its edge."""
    turns = np.linspace(0, 2 * math.pi, 24, endpoint=False)
    wobble = np.zeros_like(turns)
    for n in (2, 3, 4):
        wobble += rng.normal(0, 0.18 / n) * np.cos(n * turns + rng.uniform(0, 2 * math.pi))
    stretch = math.sqrt(rng.uniform(0.5, 1.0))
    radius = size_px / 2 * np.clip(1 + wobble, 0.4, 1.6)
    x, y = radius * np.cos(turns), radius * np.sin(turns) * stretch
    angle = rng.uniform(0, math.pi)
    points = np.stack(
        [
            centre[0] + x * math.cos(angle) - y * math.sin(angle),
            centre[1] + x * math.sin(angle) + y * math.cos(angle),
        ],
        axis=1,
    )
    drawn = np.zeros(shape[:2], np.uint8)
    cv2.fillPoly(drawn, [np.rint(points * 16).astype(np.int32)], color=255, lineType=cv2.LINE_AA, shift=4)
    edge = max(0.5, softness * size_px)
    return np.asarray(cv2.GaussianBlur(drawn, (0, 0), edge / 2), np.float32) / 255.0


def _contrast(rng: np.random.Generator, least: float, most: float) -> NDArray[np.float64]:
    """Levels by which all three channels move, up or down."""
    return np.full(3, rng.choice((-1.0, 1.0)) * rng.uniform(least, most))


def _shifted(image: Pixels, alpha: NDArray[np.float32], levels: NDArray[np.float64]) -> Pixels:
    moved = image + alpha[..., None] * levels.astype(np.float32)
    return np.asarray(np.clip(np.rint(moved), 0, 255), np.uint8)


def _mixed(image: Pixels, other: NDArray[np.float32], alpha: NDArray[np.float32]) -> Pixels:
    mixed = image + alpha[..., None] * (other - image)
    return np.asarray(np.clip(np.rint(mixed), 0, 255), np.uint8)
