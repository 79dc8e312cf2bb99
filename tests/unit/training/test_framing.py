"""Tiles, region of interest and mask, from a person's words to what reaches the backbone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from inspector.errors import ArtifactError, UsageError
from inspector.training.dataset.framing import Framing, parse_roi, parse_tiles
from inspector.vision.images.preparation import OUTSIDE, Preparation, prepare, restore_map
from tests.unit.drawings import draw

FRAME = (100, 200)


def mask_of(height: int, width: int) -> bytes:
    """White in the right half."""
    mask = np.zeros((height, width), np.uint8)
    mask[:, width // 2 :] = 255
    return bytes(cv2.imencode(".png", mask)[1])


def test_parse_tiles() -> None:
    assert parse_tiles("4x6") == (4, 6)


@pytest.mark.parametrize("text", ["4", "4x", "0x3", "-1x2", "17x16", "four x six"])
def test_parse_tiles_nonsense_says_what_is_meant(text: str) -> None:
    with pytest.raises(UsageError, match="for example 4x6"):
        parse_tiles(text)


def test_parse_roi_shares_and_pixels() -> None:
    assert parse_roi("0.1, 0.2, 0.5, 0.5") == ((0.1, 0.2, 0.5, 0.5), False)
    assert parse_roi("0,0,1,1") == ((0, 0, 1, 1), False)
    assert parse_roi("100,0,640,480") == ((100, 0, 640, 480), True)


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "a,b,c,d", "0.6,0,0.5,0.5", "-0.1,0,0.5,0.5", "0,0,0,0.5", "1.5,2,30,40"]
)
def test_parse_roi_nonsense_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="region of interest"):
        parse_roi(text)


def test_framing_pixels_become_shares_of_the_frame() -> None:
    framing = Framing(roi=(50, 10, 100, 50), is_roi_px=True)
    assert framing.needs_frame_size
    preparation = framing.applied(Preparation(size_px=64), FRAME)
    assert preparation.roi == (0.25, 0.1, 0.5, 0.5)
    with pytest.raises(UsageError, match="200x100"):
        Framing(roi=(150, 0, 100, 50), is_roi_px=True).applied(Preparation(), FRAME)


def test_framing_survives_the_manifest() -> None:
    framing = Framing((2, 3), (0.25, 0.1, 0.5, 0.5), mask=mask_of(*FRAME), size_px=128)
    preparation = framing.applied(Preparation(), FRAME)
    assert preparation.canvas == (240, 352)
    assert Preparation.from_manifest(preparation.to_manifest()) == preparation


@pytest.mark.parametrize(
    "wrong",
    [
        {"tiles": [0, 2]},
        {"tiles": [100, 100]},
        {"tiles": "ab"},
        {"overlap_px": 200},
        {"roi": [0.5, 0, 0.6, 1]},
        {"roi": [0.5, 0]},
        {"mask": "!"},
        {"mask": "bm90IGEgcG5n"},
    ],
)
def test_preparation_with_impossible_framing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ArtifactError):
        Preparation.from_manifest({**Preparation().to_manifest(), **wrong})


def test_framing_mask_of_another_aspect_or_all_dark_is_refused() -> None:
    with pytest.raises(UsageError, match="aspect"):
        Framing(mask=mask_of(100, 100)).applied(Preparation(), FRAME)
    with pytest.raises(UsageError, match="dark everywhere"):
        Framing(mask=bytes(cv2.imencode(".png", np.zeros(FRAME, np.uint8))[1])).applied(Preparation(), FRAME)


def test_prepare_nothing_outside_the_region_reaches_the_canvas() -> None:
    preparation = Preparation(size_px=64, roi=(0.5, 0.0, 0.5, 1.0), exposure="normalised")
    pixels = draw("plate", 1, size=FRAME)
    changed = pixels.copy()
    changed[:, :100] = 255
    np.testing.assert_array_equal(prepare(pixels, preparation), prepare(changed, preparation))
    changed[50:60, 150:160] = 255
    assert (prepare(pixels, preparation) != prepare(changed, preparation)).any()


@pytest.mark.parametrize("exposure", ["as_is", "normalised"])
def test_prepare_nothing_outside_the_mask_reaches_the_canvas(exposure: str) -> None:
    preparation = Framing(mask=mask_of(*FRAME)).applied(Preparation(64, exposure=exposure), FRAME)  # type: ignore[arg-type]
    pixels = draw("plate", 1, size=FRAME)
    changed = pixels.copy()
    changed[:, :90] = 255  # areas are averaged: what lies a pixel of the canvas beyond the edge
    canvas = prepare(pixels, preparation)
    np.testing.assert_array_equal(canvas, prepare(changed, preparation))
    assert (canvas[:, :30] == OUTSIDE).all()


def test_restore_map_lies_on_the_region_and_is_quiet_outside() -> None:
    preparation = Preparation(size_px=64, roi=(0.5, 0.5, 0.25, 0.5))
    restored = restore_map(np.full((8, 8), 3.0, np.float32), preparation, 100, 200, (50, 100), outside=1.0)
    assert (restored[25:, 50:75] == 3.0).all()
    assert (restored[:25] == 1.0).all()
    assert (restored[:, :50] == 1.0).all()
    assert (restored[:, 75:] == 1.0).all()
    below = restore_map(np.full((8, 8), -3.0, np.float32), preparation, 100, 200, (50, 100), outside=1.0)
    assert below.max() == -3.0


def test_restore_map_mask_is_quiet_outside() -> None:
    preparation = Framing(mask=mask_of(*FRAME)).applied(Preparation(64), FRAME)
    restored = restore_map(np.full((8, 8), 3.0, np.float32), preparation, *FRAME, FRAME, outside=1.0)
    assert (restored[:, 100:] == 3.0).all()
    assert (restored[:, :100] == 1.0).all()
