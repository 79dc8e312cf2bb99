"""Drawn parts for screenshots: a turned ring and a punched plate, 480 px, with grain, good or scratched."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE_PX = 480
PRODUCTS = ("ring", "plate")


def drawn(product: str, seed: int, is_good: bool) -> bytes:
    """The part as a camera sends it."""
    rng = np.random.default_rng([seed, PRODUCTS.index(product)])
    image = _ring(rng) if product == "ring" else _plate(rng)
    if not is_good:
        _damage(image, rng, product)
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(1.1)), np.float32)
    light = np.linspace(1.06, 0.93, SIDE_PX, dtype=np.float32)[None, :, None]
    pixels = pixels * light * rng.uniform(0.98, 1.02) + rng.normal(0, 2.2, pixels.shape)
    out = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(out, "JPEG", quality=92)
    return out.getvalue()


def _ground() -> Image.Image:
    return Image.new("RGB", (SIDE_PX, SIDE_PX), (52, 56, 60))


def _ring(rng: np.random.Generator) -> Image.Image:
    """A machined ring with turning marks and six bores."""
    rows, columns = np.mgrid[0:SIDE_PX, 0:SIDE_PX].astype(np.float32)
    x, y = SIDE_PX / 2 + rng.uniform(-4, 4, 2)
    radius = np.hypot(columns - x, rows - y)
    pixels = np.asarray(_ground(), np.float32).copy()
    body = (radius < 190) & (radius > 70)
    turned = 168 + 9 * np.sin(radius / 2.4) + 10 * np.cos(3 * np.arctan2(rows - y, columns - x))
    pixels[body] = np.stack([turned, turned * 0.98, turned * 0.93], axis=-1)[body]
    edge = ((radius > 184) & (radius < 190)) | ((radius > 70) & (radius < 76))
    pixels[edge] += 34
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for number in range(6):
        angle = number * np.pi / 3
        _disc(draw, x + 130 * np.cos(angle), y + 130 * np.sin(angle), 15, (38, 40, 44))
    return image


def _plate(rng: np.random.Generator) -> Image.Image:
    """A punched plate with four holes and a slot."""
    image = _ground()
    draw = ImageDraw.Draw(image)
    dx, dy = rng.uniform(-4, 4, 2)
    draw.rounded_rectangle(
        (70 + dx, 120 + dy, 410 + dx, 360 + dy), 22, fill=(122, 140, 158), outline=(158, 176, 192), width=4
    )
    for cx, cy in ((115, 165), (365, 165), (115, 315), (365, 315)):
        _disc(draw, cx + dx, cy + dy, 20, (40, 43, 48))
    draw.rounded_rectangle((185 + dx, 222 + dy, 295 + dx, 258 + dy), 18, fill=(40, 43, 48))
    return image


def _damage(image: Image.Image, rng: np.random.Generator, product: str) -> None:
    draw = ImageDraw.Draw(image)
    angle = rng.uniform(0, 2 * np.pi)
    reach = 100 if product == "ring" else 60
    x, y = SIDE_PX / 2 + reach * np.cos(angle), SIDE_PX / 2 + reach * 0.9 * np.sin(angle)
    if rng.random() < 0.6:
        turn, half = rng.uniform(0, np.pi), rng.uniform(24, 46)
        points = [
            (x + t * half * np.cos(turn), y + t * half * np.sin(turn) + rng.uniform(-2, 2)) for t in (-1, -0.3, 0.4, 1)
        ]
        draw.line(points, fill=(228, 226, 218), width=4)
        draw.line([(px + 2, py + 2) for px, py in points], fill=(70, 66, 62), width=2)
    else:
        _disc(draw, x, y, rng.uniform(11, 18), (84, 70, 58))


def _disc(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, colour: tuple[int, int, int]) -> None:
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
