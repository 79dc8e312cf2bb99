"""Large frames in tiles: squares are cut from one canvas, judged one by one, and their maps are joined to one map.

The worst tile decides. Heads and banks know nothing of tiles. The tiles of a frame go through the backbone together. A
frame without tiles is passed on unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import overload

import numpy as np
from numpy.typing import NDArray

from inspector.vision.engines.protocols import Embedder, Patches, concatenated
from inspector.vision.heads.base import Grid, Judgement, enlarge
from inspector.vision.images.preparation import OVERLAP_SHARE, OVERLAP_STEP_PX, Preparation

PASS_TILES = 32
"""Largest number of squares in one pass: more squares would be no faster and take more memory."""
COUNTED_SIZE_PX = 256
"""Costs are counted in passes over a square of this side."""


def overlap_for(size_px: int) -> int:
    """Overlap of neighbouring tiles in pixels: about an eighth of the side, in whole cells of the usual grids."""
    return max(OVERLAP_STEP_PX, size_px // OVERLAP_SHARE // OVERLAP_STEP_PX * OVERLAP_STEP_PX)


def backbone_passes(preparation: Preparation) -> float:
    """Cost of one frame's main pass, in passes of its backbone over one square of 256 px, without the routing."""
    return preparation.tile_count * (preparation.size_px / COUNTED_SIZE_PX) ** 2


def corners(preparation: Preparation) -> list[tuple[int, int]]:
    """Top and left of each tile in the canvas, row by row."""
    rows, columns = preparation.tiles
    step = preparation.size_px - preparation.overlap_px
    return [(row * step, column * step) for row in range(rows) for column in range(columns)]


def cut(canvas: NDArray[np.uint8], preparation: Preparation) -> NDArray[np.uint8]:
    """The canvas uint8 [Hc, Wc, 3] -> a copy of its tiles [T, S, S, 3], row by row."""
    side = preparation.size_px
    return np.stack([canvas[top : top + side, left : left + side] for top, left in corners(preparation)])


class Squares(Sequence[NDArray[np.uint8]]):
    """The tiles of many canvases as one sequence of squares. A tile is cut when it is read."""

    def __init__(self, canvases: Sequence[NDArray[np.uint8]], preparation: Preparation) -> None:
        self._canvases = canvases
        self._corners = corners(preparation)
        self._side = preparation.size_px

    def __len__(self) -> int:
        return len(self._canvases) * len(self._corners)

    @overload
    def __getitem__(self, index: int) -> NDArray[np.uint8]: ...
    @overload
    def __getitem__(self, index: slice) -> list[NDArray[np.uint8]]: ...
    def __getitem__(self, index: int | slice) -> NDArray[np.uint8] | list[NDArray[np.uint8]]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        image, tile = divmod(index, len(self._corners))
        top, left = self._corners[tile]
        return self._canvases[image][top : top + self._side, left : left + self._side]

    def of(self, images: Sequence[int]) -> list[int]:
        """The indices of the squares of these images."""
        count = len(self._corners)
        return [image * count + tile for image in images for tile in range(count)]


def tiled(embedder: Embedder, preparation: Preparation) -> Embedder:
    """An embedder of whole frames: uint8 [B, Hc, Wc, 3] -> [B, T * P, C] per embedding, tile after tile."""
    return embedder if preparation.tile_count == 1 else _TiledEmbedder(embedder, preparation)


class _TiledEmbedder:
    def __init__(self, embedder: Embedder, preparation: Preparation) -> None:
        self._embedder = embedder
        self._preparation = preparation

    def __call__(self, pixels: NDArray[np.uint8]) -> list[Patches]:
        frames = [self._embed(frame) for frame in pixels]
        return [concatenated(each) for each in zip(*frames, strict=True)]

    def _embed(self, frame: NDArray[np.uint8]) -> list[Patches]:
        """One frame's embeddings [1, T * P, C]."""
        tiles = cut(frame, self._preparation)
        passes = [self._embedder(tiles[at : at + PASS_TILES]) for at in range(0, len(tiles), PASS_TILES)]
        joined = [concatenated(parts) for parts in zip(*passes, strict=True)]
        return [each.reshape(1, -1, each.shape[-1]) for each in joined]


def split_tiles(embedded: Sequence[Patches], preparation: Preparation) -> list[Patches]:
    """[B, T * P, C] -> [B * T, P, C]: each tile like a frame of its own."""
    if preparation.tile_count == 1:
        return list(embedded)
    return [each.reshape(len(each) * preparation.tile_count, -1, each.shape[-1]) for each in embedded]


def join(judgements: Sequence[Judgement], preparation: Preparation) -> list[Judgement]:
    """One judgement per frame, made from the judgements of its tiles: the highest score, and one map over the canvas.

    Where tiles overlap, the map has the higher value, so that the spot that decided is always on the map.
    """
    count = preparation.tile_count
    if count == 1:
        return list(judgements)
    frames = [judgements[at : at + count] for at in range(0, len(judgements), count)]
    return [
        Judgement(
            float(np.max([judgement.score for judgement in frame])),  # a NaN score stays NaN
            partial(_joined, frame, preparation),
        )
        for frame in frames
    ]


def _joined(judgements: Sequence[Judgement], preparation: Preparation) -> Grid:
    return join_maps([judgement.grid_map for judgement in judgements], preparation)


def join_maps(maps: Sequence[Grid], preparation: Preparation) -> Grid:
    """The maps [m, m] of the tiles, joined to one map over the canvas with m cells per `size_px`."""
    side, size_px = maps[0].shape[0], preparation.size_px
    if (size_px - preparation.overlap_px) * side % size_px:
        return join_maps([enlarge(each, size_px) for each in maps], preparation)  # a tile begins inside a cell
    height, width = (length * side // size_px for length in preparation.canvas)
    joined = np.full((height, width), -np.inf, np.float32)
    for (top, left), each in zip(corners(preparation), maps, strict=True):
        row, column = top * side // size_px, left * side // size_px
        place = joined[row : row + side, column : column + side]
        np.maximum(place, each, out=place)
    return joined
