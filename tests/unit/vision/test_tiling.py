"""Large frames in tiles: one canvas, squares of it, one map again; the worst tile decides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.vision.heads.base import Judgement
from inspector.vision.images.preparation import Preparation, place, prepare, restore_map
from inspector.vision.serving.tiling import (
    PASS_TILES,
    Squares,
    backbone_passes,
    corners,
    cut,
    join,
    join_maps,
    overlap_for,
    split_tiles,
    tiled,
)
from tests.unit.drawings import draw

TILED = Preparation(size_px=64, tiles=(2, 3), overlap_px=16)


def test_canvas_holds_all_tiles_and_their_overlap() -> None:
    assert TILED.canvas == (112, 160)
    assert corners(TILED)[-1] == (48, 96)
    assert Preparation(size_px=64).canvas == (64, 64)


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from(["letterbox", "squash"]))
def test_prepare_with_tiles_any_frame_fills_the_canvas_and_comes_back(height: int, width: int, fit: str) -> None:
    preparation = Preparation(64, fit, tiles=(2, 3), overlap_px=16)  # type: ignore[arg-type]  # a literal, sampled
    canvas = prepare(np.full((height, width, 3), 90, np.uint8), preparation)
    assert canvas.shape == (112, 160, 3)
    assert (canvas == 90).all()
    restored = restore_map(np.ones((14, 20), np.float32), preparation, height, width, (height, width))
    assert restored.shape == (height, width)
    np.testing.assert_allclose(restored, 1.0)


def test_cut_tiles_are_parts_of_the_canvas_row_by_row() -> None:
    canvas = prepare(draw("mesh", 1, size=(112, 160)), TILED)
    tiles = cut(canvas, TILED)
    assert tiles.shape == (6, 64, 64, 3)
    np.testing.assert_array_equal(tiles[4], canvas[48:112, 48:112])
    squares = Squares([canvas, canvas[::-1]], TILED)
    assert len(squares) == 12
    np.testing.assert_array_equal(squares[4], tiles[4])
    np.testing.assert_array_equal(squares[11], canvas[::-1][48:112, 96:160])
    assert squares.of([1]) == [6, 7, 8, 9, 10, 11]


@pytest.mark.parametrize("cell", [16, 8, 1, 64 / 5])
def test_join_maps_puts_each_cell_where_its_tile_lay(cell: float) -> None:
    """Any grid: cells that fit into the overlap, and cells that don't."""
    side = round(64 / cell)
    maps = [np.full((side, side), float(tile), np.float32) for tile in range(6)]
    joined = join_maps(maps, TILED)
    frame = restore_map(joined, TILED, 112, 160, (112, 160))
    for tile, (top, left) in enumerate(corners(TILED)):
        inside = frame[top + 24 : top + 40, left + 24 : left + 40]  # what no neighbour sees
        np.testing.assert_allclose(inside, tile)
    assert joined.max() == 5


def test_join_the_worst_tile_decides_and_is_on_the_map() -> None:
    maps = [np.zeros((8, 8), np.float32) for _ in range(12)]
    maps[8][2, 7] = 5.0  # of the second frame's third tile
    scores = [float(tile) for tile in range(12)]
    first, second = join([Judgement(score, each) for score, each in zip(scores, maps, strict=True)], TILED)
    assert (first.score, second.score) == (5.0, 11.0)
    assert first.grid_map.shape == (14, 20)
    assert first.grid_map.max() == 0
    assert np.unravel_index(second.grid_map.argmax(), second.grid_map.shape) == (2, 19)


def test_join_a_tile_without_a_number_is_not_hidden_by_its_neighbours() -> None:
    judgements = [Judgement(float("nan") if tile == 3 else 1.0, np.zeros((8, 8), np.float32)) for tile in range(6)]
    (found,) = join(judgements, TILED)
    assert np.isnan(found.score)


def test_tiled_embedder_gives_each_tile_what_it_gets_alone() -> None:
    seen = []

    def embedder(pixels: np.ndarray) -> list[np.ndarray]:
        seen.append(len(pixels))
        means = pixels.reshape(len(pixels), 4, 16, 4, 16, 3).mean(axis=(2, 4), dtype=np.float32)
        return [means.reshape(len(pixels), 16, 3)]

    preparation = Preparation(size_px=64, tiles=(6, 6), overlap_px=16)
    canvases = np.stack([prepare(draw("mesh", seed, size=(300, 300)), preparation) for seed in range(2)])
    (embedded,) = tiled(embedder, preparation)(canvases)
    assert embedded.shape == (2, 36 * 16, 3)
    assert seen == [PASS_TILES, 4] * 2
    (split,) = split_tiles([embedded], preparation)
    np.testing.assert_array_equal(split[40], embedder(cut(canvases[1], preparation)[4:5])[0][0])


def test_tiled_embedder_without_tiles_is_the_embedder_itself() -> None:
    def embedder(pixels: np.ndarray) -> list[np.ndarray]:
        return [pixels]

    assert tiled(embedder, Preparation()) is embedder


def test_backbone_passes_counts_tiles_at_256_px() -> None:
    assert backbone_passes(Preparation()) == 1.0
    assert backbone_passes(Preparation(tiles=(4, 6), overlap_px=32)) == 24.0
    assert backbone_passes(Preparation(size_px=512)) == 4.0
    assert [overlap_for(size) for size in (64, 256, 252)] == [16, 32, 16]


def test_place_a_tall_frame_stands_in_the_middle_of_a_wide_canvas() -> None:
    at = place(224, 100, TILED)
    assert (at.left, at.top, at.width, at.height) == (55, 0, 50, 112)
