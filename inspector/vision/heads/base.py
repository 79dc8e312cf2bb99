"""What a head is: the model that an artifact stores, the head that it opens on an engine, and what that head says.

One head is one module here, which scores, and one of the same name in `training/heads`, which fits. Whoever stores,
loads or runs heads knows these protocols alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.errors import ArtifactError
from inspector.vision.engines.protocols import Engine, Patches
from inspector.vision.heads.stored import finite

Grid = NDArray[np.float32]
Reading = Literal["top_share", "smoothed_max"]

WIDEST_SIGMA = 1 / 8
"""The widest Gaussian over a map, as a share of the input's side: a wider one would hold the scorer for seconds."""


class Judgement:
    """What a head says of one frame: the score that decides, and the map that is shown.

    The map is drawn when it is first asked for: most frames are ordinary, and nobody looks at their maps. Until then
    the frame's embeddings stay in memory; code that keeps many judgements calls `drawn`.
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
        """The same judgement with its map drawn."""
        return Judgement(self.score, self.grid_map)

    def __reduce__(self) -> tuple[type[Judgement], tuple[float, Grid]]:
        return Judgement, (self.score, self.grid_map)


class Head(Protocol):
    """A head that is ready on one engine. The same frame gets the same answer, however frames are batched."""

    def judge(self, embedded: Sequence[Patches]) -> list[Judgement]:
        """One judgement per frame. `embedded`: [B, P, C] of each embedding of the artifact's pass."""


@dataclass(frozen=True, slots=True)
class EmbeddingUse:
    """One embedding that a head reads: its place in the artifact's pass, and the channels that it must have."""

    index: int
    channels: int


class HeadModel(Protocol):
    """A fitted head as an artifact stores it. Immutable; holds no engine.

    The reader that is registered for `kind` in `heads.factory` makes the same model of `to_manifest()` and `tensors()`.
    """

    @property
    def kind(self) -> str: ...

    @property
    def embeddings(self) -> Sequence[EmbeddingUse]:
        """What the head reads of the pass."""

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        """The stored arrays, by names of the model's own."""

    def to_manifest(self) -> Mapping[str, Any]:
        """What else is stored, in JSON's types. The artifact adds the kind."""

    def open(self, engine: Engine) -> Head:
        """The head on this engine."""


@dataclass(frozen=True, slots=True)
class Readout:
    """How a map becomes an image score: the mean of its highest `top_share`, or the maximum of the smoothed map.

    `sigma_px`: the Gaussian that smooths a map at input resolution, 0 for none; `size_px`: side of the input.
    """

    reading: Reading
    top_share: float
    sigma_px: float
    size_px: int

    def to_manifest(self) -> dict[str, Any]:
        return {"reading": self.reading, "top_share": self.top_share, "sigma_px": self.sigma_px}

    @classmethod
    def from_manifest(cls, stored: Mapping[str, Any], size_px: int) -> Readout:
        """Raises ArtifactError where no score can be read like that; KeyError, TypeError where something is missing."""
        found = cls(stored["reading"], finite(stored["top_share"]), finite(stored["sigma_px"]), size_px)
        if found.reading not in get_args(Reading):
            raise ArtifactError(f"The artifact's scores are read in an unknown way, {found.reading!r}.")
        if not 0 < found.top_share <= 1 or not 0 <= found.sigma_px <= WIDEST_SIGMA * size_px:
            raise ArtifactError(
                "The artifact's scores are read from an impossible share or through an impossible Gaussian."
            )
        return found

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
