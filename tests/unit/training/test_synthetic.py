from __future__ import annotations

import numpy as np
import pytest

from inspector.training.defects.drawing import DefectKind, draw


def part(seed: int = 0) -> np.ndarray:
    """Noise with a bright square on a dark ground, uint8 [96, 128, 3]."""
    image = np.random.default_rng(seed).normal(60, 6, (96, 128, 3))
    image[20:76, 30:98] += 90
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", DefectKind)
def test_draw_changes_only_what_the_mask_says(kind: DefectKind) -> None:
    image = part()
    before = image.copy()
    planted = draw(kind, image, 20, np.random.default_rng(1), at=(64, 48))
    assert np.array_equal(image, before)
    assert planted.image.shape == image.shape
    assert planted.image.dtype == np.uint8
    assert planted.mask.any()
    outside = np.abs(planted.image.astype(int) - image)[~planted.mask]
    assert outside.max() < 4


@pytest.mark.parametrize("kind", DefectKind)
@pytest.mark.parametrize("size_px", [6, 16, 40])
def test_draw_is_about_as_long_as_asked(kind: DefectKind, size_px: int) -> None:
    planted = draw(kind, part(), size_px, np.random.default_rng(2), at=(64, 48))
    rows, columns = np.nonzero(planted.mask)
    length = float(np.hypot(np.ptp(rows) + 1, np.ptp(columns) + 1))
    assert length <= 2.2 * size_px + 6
    assert abs(rows.mean() - 48) <= size_px
    assert abs(columns.mean() - 64) <= size_px


def test_draw_same_seed_same_defect() -> None:
    first = draw(DefectKind.SPOT, part(), 12, np.random.default_rng(3))
    again = draw(DefectKind.SPOT, part(), 12, np.random.default_rng(3))
    assert np.array_equal(first.image, again.image)


def test_draw_on_a_blank_image_may_stay_invisible_and_says_so() -> None:
    blank = np.full((64, 64, 3), 90, np.uint8)
    planted = draw(DefectKind.SMEAR, blank, 12, np.random.default_rng(4))
    assert not planted.mask.any()


def test_draw_spot_on_a_gray_image_stays_gray() -> None:
    gray = np.repeat(part()[..., :1], 3, axis=2)
    planted = draw(DefectKind.SPOT, gray, 12, np.random.default_rng(5), at=(64, 48))
    assert (planted.image == planted.image[..., :1]).all()


def test_draw_below_one_pixel_is_refused() -> None:
    with pytest.raises(ValueError, match="one pixel"):
        draw(DefectKind.SPOT, part(), 0.5, np.random.default_rng(0))
