"""Protocols of heads: the model that an artifact stores, the head opened on an engine, and the judgement of a frame.

Each head has two modules: one here, which scores, and one of the same name in `training/heads`, which fits. Code that
stores, loads or runs heads knows these protocols alone.
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
"""Largest sigma of the Gaussian over a map, as a share of the input's side. A larger one would take seconds a frame."""


class Judgement:
    """What a head says of one frame: the score that decides, and the map that is shown.

    The map is drawn when `grid_map` is first read, because nobody looks at the maps of most frames. Until then the
    frame's embeddings stay in memory. Code that keeps many judgements calls `drawn`, which frees the embeddings.
    """

    __slots__ = ("_grid_map", "score")

    def __init__(self, score: float, grid_map: Grid | Callable[[], Grid]) -> None:
        self.score = score
        self._grid_map = grid_map

    @property
    def grid_map(self) -> Grid:
        """The map, float32 [g, g]. For a frame in tiles it covers the whole canvas."""
        if callable(self._grid_map):
            self._grid_map = self._grid_map()
        return self._grid_map

    def drawn(self) -> Judgement:
        """The same judgement with its map drawn."""
        return Judgement(self.score, self.grid_map)

    def __reduce__(self) -> tuple[type[Judgement], tuple[float, Grid]]:
        return Judgement, (self.score, self.grid_map)


class Head(Protocol):
    """A head that is ready on one engine. A frame gets the same judgement in every batch."""

    def judge(self, embedded: Sequence[Patches]) -> list[Judgement]:
        """One judgement per frame. `embedded`: [B, P, C] of each embedding of the artifact's pass."""


@dataclass(frozen=True, slots=True)
class EmbeddingUse:
    """One embedding that a head reads: its place in the artifact's pass, and the channels that it must have."""

    index: int
    channels: int


class HeadModel(Protocol):
    """A fitted head as an artifact stores it. Immutable; holds no engine.

    The reader registered for `kind` in `heads.factory` makes an equal model from `to_manifest()` and `tensors()`.
    """

    @property
    def kind(self) -> str: ...

    @property
    def embeddings(self) -> Sequence[EmbeddingUse]:
        """The embeddings of the pass that the head reads."""

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        """The arrays to store, by names that the model chooses."""

    def to_manifest(self) -> Mapping[str, Any]:
        """Everything else to store, in JSON's types. The artifact adds the kind."""

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
        """The readout that a manifest stores, for an input of side `size_px`.

        Raises ArtifactError where a value is impossible; KeyError, TypeError where a value is missing or no number.
        """
        found = cls(stored["reading"], finite(stored["top_share"]), finite(stored["sigma_px"]), size_px)
        if found.reading not in get_args(Reading):
            raise ArtifactError(f"The artifact's scores are read in an unknown way, {found.reading!r}.")
        if not 0 < found.top_share <= 1 or not 0 <= found.sigma_px <= WIDEST_SIGMA * size_px:
            raise ArtifactError(
                "The artifact's scores are read from an impossible share or through an impossible Gaussian."
            )
        return found

    def mean_score(self, grid_maps: Grid) -> float:
        """The image score of a member: the mean of the scores of its covers' maps, float32 [covers, g, g]."""
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
        """The map enlarged to input resolution (bilinear) and smoothed; the map unchanged where `sigma_px` is 0."""
        if not self.sigma_px:
            return grid_map
        large = cv2.resize(grid_map, (self.size_px, self.size_px), interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.GaussianBlur(large, (0, 0), self.sigma_px), np.float32)


def top_mean(rows: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Mean of the highest `share` of each row's values, at least one value: [n, P] -> [n]."""
    highest = max(1, round(share * rows.shape[1]))
    if highest == rows.shape[1] == 1:
        return rows[:, 0]
    parted = np.partition(rows, -highest, axis=1)
    return np.asarray(np.add.reduce(parted[:, -highest:], axis=1) / np.float32(highest), np.float32)


def enlarge(grid_map: Grid, side: int) -> Grid:
    """A map resampled to a grid of this side (bilinear)."""
    if grid_map.shape[0] == side:
        return grid_map
    return np.asarray(cv2.resize(grid_map, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)
