"""Shows a category on one picture, so that a person can name it: its most and least typical images and its strays."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.errors import UndecodableFrame
from inspector.stream.decode import DecodeLimits, decode
from inspector.training.dataset.folders import ImageSource
from inspector.training.routing.discovery import Category, Discovery

CELL_PX = 160
COLUMNS = 6
TYPICAL = 12
EDGE = 6
STRAYS = 6
GAP_PX = 4
PAPER = 255
FRAMES = {"typical": (150, 150, 150), "edge": (210, 150, 0), "stray": (200, 30, 30)}


def contact_sheet(discovery: Discovery, category: Category, limits: DecodeLimits) -> bytes:
    """The contact sheet as PNG. Gray frames: the 12 most typical; amber: the 6 least typical; red: up to 6 strays.

    An image that can no longer be read leaves its cell empty.
    """
    picked = [
        *(("typical", index) for index in category.members[:TYPICAL]),
        *(("edge", index) for index in category.members[max(TYPICAL, len(category.members) - EDGE) :]),
        *(("stray", index) for index in category.strays[:STRAYS]),
    ]
    rows = -(-len(picked) // COLUMNS)
    pitch = CELL_PX + GAP_PX
    sheet = np.full((rows * pitch + GAP_PX, COLUMNS * pitch + GAP_PX, 3), PAPER, np.uint8)
    for place, (kind, index) in enumerate(picked):
        top, left = GAP_PX + place // COLUMNS * pitch, GAP_PX + place % COLUMNS * pitch
        cell = _cell(discovery.images[index], limits)
        cell[[0, 1, -2, -1]] = FRAMES[kind]
        cell[:, [0, 1, -2, -1]] = FRAMES[kind]
        sheet[top : top + CELL_PX, left : left + CELL_PX] = cell
    return cv2.imencode(".png", sheet[..., ::-1])[1].tobytes()


def _cell(image: ImageSource, limits: DecodeLimits) -> NDArray[np.uint8]:
    """uint8 [160, 160, 3] with the whole image in its own aspect."""
    cell = np.full((CELL_PX, CELL_PX, 3), PAPER, np.uint8)
    try:
        pixels = decode(image.read(), limits)
    except (OSError, UndecodableFrame):
        return cell
    scale = CELL_PX / max(pixels.shape[:2])
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    top, left = (CELL_PX - height) // 2, (CELL_PX - width) // 2
    cell[top : top + height, left : left + width] = small
    return cell
