"""One way from a frame to its square, and back again."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from inspector.errors import ArtifactError
from inspector.vision.images.preparation import Preparation, place, prepare, restore_map
from inspector.vision.images.resizing import Pyramid, resize
from tests.unit.drawings import draw


def test_prepare_letterbox_keeps_the_aspect_and_reflects() -> None:
    pixels = np.full((50, 200, 3), 90, np.uint8)
    square = prepare(pixels, Preparation(size_px=64))
    assert square.shape == (64, 64, 3)
    assert (square == 90).all()  # a bar of another colour would show
    at = place(50, 200, Preparation(size_px=64))
    assert (at.left, at.top, at.width, at.height) == (0, 24, 64, 16)


def test_prepare_squash_fills_the_square() -> None:
    at = place(50, 200, Preparation(size_px=64, fit="squash"))
    assert (at.left, at.top, at.width, at.height) == (0, 0, 64, 64)


def test_prepare_frame_of_the_right_size_is_copied_not_shared() -> None:
    pixels = draw("disc", 1, size=(64, 64))
    square = prepare(pixels, Preparation(size_px=64))
    np.testing.assert_array_equal(square, pixels)
    assert not np.shares_memory(square, pixels)
    assert square.flags.c_contiguous


def test_prepare_shrinking_averages_areas() -> None:
    checks = np.indices((128, 128)).sum(axis=0) % 2 * 255
    pixels = np.repeat(checks[:, :, None], 3, axis=2).astype(np.uint8)
    square = prepare(pixels, Preparation(size_px=64))
    assert abs(int(square.mean()) - 128) <= 1
    assert square.std() < 2


@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 130), st.integers(1, 130))
def test_resize_gives_the_size_and_keeps_the_mean(height: int, width: int, to_height: int, to_width: int) -> None:
    ramp = np.linspace(20, 220, width)[None, :, None] * np.linspace(0.5, 1, height)[:, None, None]
    pixels = np.repeat(ramp, 3, axis=2).astype(np.uint8)
    resized = resize(pixels, to_width, to_height)
    assert resized.shape == (to_height, to_width, 3)
    if min(height, width, to_height, to_width) > 8:
        assert abs(float(resized.mean()) - float(pixels.mean())) < 4


@pytest.mark.parametrize("side", [90, 128, 150, 201, 256, 300, 517])
def test_resize_shrinking_by_any_factor_leaves_no_pattern_of_single_pixels(side: int) -> None:
    checks = np.indices((side, side)).sum(axis=0) % 2 * 255
    small = resize(np.repeat(checks[:, :, None], 3, axis=2).astype(np.uint8), 64, 64)
    assert abs(int(small.mean()) - 128) <= 2
    assert small.std() < 30  # 127 before


def test_pyramid_gives_the_bits_that_the_frame_gives() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1300, 1100, 3), dtype=np.uint8)
    shared = Pyramid(pixels)
    resize(shared, 128, 128)
    assert [shared.half(times).shape[0] for times in range(3)] == [1300, 650, 325]
    for preparation in (Preparation(), Preparation(size_px=64), Preparation(roi=(0.1, 0.1, 0.5, 0.5))):
        np.testing.assert_array_equal(prepare(shared, preparation), prepare(pixels, preparation))


class Decoder:
    """An image of 4800 x 2600 whose decoder halves it twice. A half is even, ten levels brighter each time."""

    size = (4800, 2600)
    most_halvings = 2

    def __init__(self) -> None:
        self.asked: list[int] = []

    def halved(self, times: int) -> NDArray[np.uint8]:
        self.asked.append(times)
        return np.full((self.size[0] >> times, self.size[1] >> times, 3), 10 * times, np.uint8)


@pytest.mark.parametrize(
    ("preparation", "asked"),
    [
        (Preparation(), [2]),
        (Preparation(size_px=64), [2]),  # and then means
        (Preparation(halving="mean"), [0]),
        (Preparation(tiles=(8, 4), overlap_px=32), [0]),
        (Preparation(roi=(0.0, 0.0, 0.5, 0.25)), [1]),  # 1300 x 1200 of the frame
        (Preparation(roi=(0.0, 0.0, 0.2, 0.1)), [0]),
    ],
)
def test_prepare_asks_the_decoder_for_the_smallest_half_that_is_large_enough(
    preparation: Preparation, asked: list[int]
) -> None:
    image = Decoder()
    prepared = prepare(image, preparation)
    assert image.asked == asked
    assert (prepared == 10 * asked[0]).all()


def test_pyramid_asks_a_decoder_once_and_takes_means_of_the_smallest_half_that_it_makes() -> None:
    image = Decoder()
    pyramid = Pyramid(image)
    shapes = [pyramid.nearest(width, 32).shape[:2] for width in (2000, 600, 600, 150, 140)]
    assert shapes == [(4800, 2600), (1200, 650), (1200, 650), (300, 163), (300, 163)]
    assert image.asked == [0, 2]
    assert pyramid.size == (4800, 2600)


def test_prepare_of_a_pyramid_with_other_halves_takes_the_halves_of_the_preparation() -> None:
    image = Decoder()
    assert (prepare(Pyramid(image, "decoder"), Preparation(halving="mean")) == 0).all()
    assert image.asked == [0]


def test_preparation_from_before_decoders_halved_frames_takes_means_of_all_pixels() -> None:
    stored = Preparation(halving="mean").to_manifest()
    assert "halving" not in stored
    assert Preparation.from_manifest(stored) == Preparation(halving="mean")
    assert Preparation.from_manifest(Preparation().to_manifest()).halving == "decoder"
    with pytest.raises(ArtifactError, match="halved in an unknown way"):
        Preparation.from_manifest(Preparation().to_manifest() | {"halving": "nearest"})


def test_prepare_normalised_exposure_undoes_a_change_of_light() -> None:
    preparation = Preparation(size_px=64, exposure="normalised")
    pixels = draw("disc", 1)
    darker = (pixels * 0.5 + 10).astype(np.uint8)
    difference = prepare(pixels, preparation).astype(int) - prepare(darker, preparation)
    assert np.abs(difference).mean() < 2


def test_prepare_normalised_blank_frame_does_not_become_noise() -> None:
    pixels = np.full((64, 64, 3), 17, np.uint8)
    pixels[0, 0] = 18
    assert prepare(pixels, Preparation(size_px=64, exposure="normalised")).std() < 2


def test_prepare_levelled_takes_a_gradient_away_and_keeps_what_is_small() -> None:
    rng = np.random.default_rng(0)
    gradient = np.linspace(0, 90, 256)[None, :]
    part = 100 + rng.normal(0, 4, (256, 256))
    part[120:124, 120:124] += 60
    flat, lit = (np.clip(image, 0, 255).astype(np.uint8)[..., None].repeat(3, 2) for image in (part, part + gradient))
    levelled = Preparation(exposure="levelled")
    one, other = (prepare(each, levelled).astype(float) for each in (flat, lit))
    inner = (slice(40, 216), slice(40, 216))  # at the border half of the light is not seen
    assert np.abs(one - other)[inner].mean() < 10.0  # levels were rounded before they were amplified tenfold
    assert abs(other[inner].mean(axis=(0, 2)).std() - one[inner].mean(axis=(0, 2)).std()) < 3.0
    assert other[121, 121, 0] > 200


def test_prepare_levelled_blank_frame_does_not_become_noise() -> None:
    blank = np.full((64, 64, 3), 90, np.uint8)
    assert set(np.unique(prepare(blank, Preparation(size_px=64, exposure="levelled")))) == {128}


def test_prepare_levelled_what_is_masked_lights_nothing() -> None:
    rng = np.random.default_rng(0)
    frame = rng.integers(90, 110, (64, 64, 1), np.uint8).repeat(3, 2)
    bright = frame.copy()
    bright[:, 40:] = 250
    mask = np.zeros((64, 64), np.uint8)
    mask[:, :40] = 255
    encoded = cv2.imencode(".png", mask)[1].tobytes()
    levelled = Preparation(size_px=64, exposure="levelled", mask=encoded)
    np.testing.assert_array_equal(prepare(frame, levelled), prepare(bright, levelled))


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from(["letterbox", "squash"]))
def test_restore_map_any_size_comes_back_to_the_frame(height: int, width: int, fit: str) -> None:
    preparation = Preparation(size_px=64, fit=fit)  # type: ignore[arg-type]  # a literal, sampled
    pixels = np.zeros((height, width, 3), np.uint8)
    assert prepare(pixels, preparation).shape == (64, 64, 3)
    restored = restore_map(np.ones((8, 8), np.float32), preparation, height, width, (height, width))
    assert restored.shape == (height, width)
    np.testing.assert_allclose(restored, 1.0)


def test_restore_map_a_spot_returns_to_its_place() -> None:
    preparation = Preparation(size_px=256)
    pixels = np.zeros((100, 400, 3), np.uint8)
    pixels[60:80, 300:320] = 255
    square = prepare(pixels, preparation)[:, :, 0].astype(np.float32)
    grid = square.reshape(32, 8, 32, 8).mean(axis=(1, 3))
    restored = restore_map(grid, preparation, 100, 400, (100, 400))
    y, x = np.unravel_index(restored.argmax(), restored.shape)
    assert 58 <= y <= 82
    assert 298 <= x <= 322


@pytest.mark.parametrize("stored", [{}, {"size_px": 256, "fit": "crop", "exposure": "as_is"}, {"size_px": 250}])
def test_preparation_from_an_unknown_manifest_is_refused(stored: dict[str, object]) -> None:
    with pytest.raises(ArtifactError):
        Preparation.from_manifest(stored)


def test_preparation_survives_its_manifest() -> None:
    preparation = Preparation(128, "squash", "normalised")
    assert Preparation.from_manifest(preparation.to_manifest()) == preparation
