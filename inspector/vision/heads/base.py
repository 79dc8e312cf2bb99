"""What all heads share: the judgement of a frame, and how a map becomes an image score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.float32]


class Judgement:
    """What a head says of one frame: the decision's score, and the map that is shown.

    The map is drawn when it is first asked for: most frames are ordinary, and nobody looks at theirs. Until then the
    frame's embeddings are held; whoever keeps many judgements calls `drawn`.
    """

    __slots__ = ("_grid_map", "score")

    def __init__(self, score: float, grid_map: Grid | Callable[[], Grid]) -> None:
        self.score = score
        self._grid_map = grid_map

    @property
    def grid_map(self) -> Grid:
        """Float32 [g, g]; over the whole canvas where there are tiles."""
        if callable(self._grid_map):
            self._grid_map = self._grid_map()
        return self._grid_map

    def drawn(self) -> Judgement:
        """The same with its map."""
        return Judgement(self.score, self.grid_map)

    def __reduce__(self) -> tuple[type[Judgement], tuple[float, Grid]]:
        return Judgement, (self.score, self.grid_map)


@dataclass(frozen=True, slots=True)
class Readout:
    """How a member's map becomes its image score; see `recipes.Recipe`."""

    reading: Reading
    top_share: float
    sigma_px: float
    size_px: int

    def mean_score(self, grid_maps: Grid) -> float:
        """The image score of a member: the mean over its covers, each of which has a map. float32 [covers, g, g]."""
        return float(self.scores(grid_maps).mean())

    def score(self, grid_map: Grid) -> float:
        """The image score of one map."""
        return float(self.scores(grid_map[None])[0])

    def scores(self, grid_maps: Grid) -> NDArray[np.float32]:
        """The image score of each map: float32 [n, g, g] -> [n]."""
        if self.reading == "smoothed_max":
            return np.array([self.smoothed(each).max() for each in grid_maps], np.float32)
        return top_mean(grid_maps.reshape(len(grid_maps), -1), self.top_share)

    def smoothed(self, grid_map: Grid) -> Grid:
        """Bilinear to input resolution, then the Gaussian; the map itself where there is none."""
        if not self.sigma_px:
            return grid_map
        large = cv2.resize(grid_map, (self.size_px, self.size_px), interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.GaussianBlur(large, (0, 0), self.sigma_px), np.float32)


def top_mean(rows: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Mean of the highest `share` of each row's values, of at least one: [n, P] -> [n]."""
    count = rows.shape[1] - max(1, round(share * rows.shape[1]))
    return np.asarray(np.partition(rows, count, axis=1)[:, count:].mean(axis=1), np.float32)


def enlarge(grid_map: Grid, side: int) -> Grid:
    """A map on a finer grid, bilinear."""
    if grid_map.shape[0] == side:
        return grid_map
    return np.asarray(cv2.resize(grid_map, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)


Reading = Literal["top_share", "smoothed_max"]
