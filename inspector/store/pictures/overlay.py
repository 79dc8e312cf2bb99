"""Draws pictures for people: the frame with the head's heat map over it in colour, and a small copy of a frame.

Pillow is used only here, and imported when the first picture is drawn. All functions block: call them on
worker threads. Orientation tags are ignored, as in the judging of frames.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

LONGEST_SIDE_PX: Final = 1024
SMALL_SIDE_PX: Final = 480
_THRESHOLD: Final = 128
_FROM: Final = 64
"""Heat below half the threshold is not shown."""

JPEG: Final = b"\xff\xd8\xff"
PNG: Final = b"\x89PNG\r\n\x1a\n"


class Undrawable(Exception):
    """Pillow can't draw these bytes. The verdict is not affected."""


def suffix_of(payload: bytes) -> str | None:
    """`jpg` or `png` by content, None for anything else."""
    if payload.startswith(JPEG):
        return "jpg"
    return "png" if payload.startswith(PNG) else None


def overlay_jpeg(
    payload: bytes, heat_map: NDArray[np.uint8], longest_px: int = LONGEST_SIDE_PX, note: str = ""
) -> bytes:
    """A JPEG of at most `longest_px`. `heat_map`: uint8 [h, w], 128 = threshold, any size. `note`: as `note_of` reads.

    The map is yellow at the threshold and red from twice the threshold on. Raises Undrawable.
    A PNG would say no more: the frame's own bytes are kept beside it, and it takes a hundred times as long to write.
    """
    return _encoded(_overlaid(payload, heat_map, longest_px), 90, note)


def small_jpeg(payload: bytes, longest_px: int = SMALL_SIDE_PX, note: str = "") -> bytes:
    """A JPEG of at most `longest_px`. `note`: as `note_of` reads. Raises Undrawable."""
    return _encoded(_opened(payload, longest_px), 75, note)


def note_of(jpeg: bytes) -> str:
    """The note in a JPEG's comment, empty without one. Raises Undrawable."""
    from PIL import Image

    try:
        comment = Image.open(io.BytesIO(jpeg)).info.get("comment", b"")
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        raise Undrawable(str(error)) from error
    return comment.decode("utf-8", "replace") if isinstance(comment, bytes) else str(comment)


def size_of(payload: bytes) -> tuple[int, int]:
    """Width and height of an image in pixels, read from its header. Raises Undrawable."""
    from PIL import Image

    try:
        width, height = Image.open(io.BytesIO(payload)).size
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        raise Undrawable(str(error)) from error
    return width, height


def cropped_jpeg(payload: bytes, box: tuple[int, int, int, int], longest_px: int) -> bytes:
    """A part of the image, enlarged or reduced to `longest_px`. `box`: left, top, right, bottom. Raises Undrawable."""
    from PIL import Image

    whole = _opened(payload, max(size_of(payload)))
    left, top, right, bottom = box
    cut = whole.crop((max(0, left), max(0, top), min(whole.width, right), min(whole.height, bottom)))
    if not cut.width or not cut.height:
        raise Undrawable("the part that was asked for lies outside the image")
    scale = longest_px / max(cut.size)
    size = (max(1, round(cut.width * scale)), max(1, round(cut.height * scale)))
    return _encoded(cut.resize(size, Image.Resampling.BICUBIC), 90, "")


def _overlaid(payload: bytes, heat_map: NDArray[np.uint8], longest_px: int) -> Image:
    from PIL import Image

    frame = _opened(payload, longest_px)
    heat = Image.fromarray(heat_map).resize(frame.size, Image.Resampling.BILINEAR)
    return Image.composite(Image.fromarray(_colours(np.asarray(heat))), frame, _opacity(heat))


def _opacity(heat: Image) -> Image:
    """Opacity of the heat: none below `_FROM`, two thirds at most, so that the part stays visible."""
    return heat.point(lambda value: 0 if value < _FROM else min(170, 60 + (value - _FROM)))


def _colours(heat: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [H, W] -> [H, W, 3]: green towards the threshold, yellow at it, red above."""
    level = heat.astype(np.float32) / _THRESHOLD
    red = np.clip(level, 0.0, 1.0)
    green = np.clip(2.0 - level, 0.0, 1.0)
    return (np.stack([red, green, np.zeros_like(red)], axis=-1) * 255).astype(np.uint8)  # [H, W, 3]


def _opened(payload: bytes, longest_px: int) -> Image:
    """The image as RGB, reduced to fit. 16-bit gray is stretched to the range that the image uses."""
    from PIL import Image

    try:
        image: Image.Image = Image.open(io.BytesIO(payload))
        image.draft("RGB", (longest_px, longest_px))  # lets Pillow decode a JPEG at a fraction of its size
        if image.mode.startswith("I"):
            deep = np.asarray(image).astype(np.float32)
            image = Image.fromarray((deep * (255.0 / max(1.0, float(deep.max())))).astype(np.uint8))
        image = image.convert("RGB")
        # As sharp to the eye as BICUBIC; the whole small copy takes about five sixths of the time.
        image.thumbnail((longest_px, longest_px), Image.Resampling.HAMMING)
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        raise Undrawable(str(error)) from error
    return image


def _encoded(image: Image, quality: int, note: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality, comment=note.encode("utf-8", "replace"))
    return stream.getvalue()
