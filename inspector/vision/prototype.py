"""The prototype head: distance of every patch to the nearest good one (ProtoAD, arXiv 2310.02576).

[A] A frozen network, layers joined on one grid, s = 1 - max_k cos(x, m_k), image score from the map.
[R] Banks, blends and scales of the tuned default are ours; `protoad` follows the paper where it is known.
A head is a list of members; each weighs in the decision, in the map, or in both. A frame is as bad as the
worst that any deciding member says of it, in units of the spread that the member's scores have on good
images: what one view sees is not averaged away by those that do not. No torch, no files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.vision.engines import Bank, Engine, Patches, Search
from inspector.vision.recipes import Reading

Grid = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Member:
    """One bank with its place in the blend.

    `embedding` and `grid` name its patches in the pass. `score_usual` and `score_unit` are the median and the
    spread of its image scores on good images, `map_unit` the spread of its patch distances there; `sources`:
    int32 [K, 3], image, row, column of each prototype, -1 for a mean of several.
    """

    embedding: int
    grid: int
    bank: Bank
    in_decision: float
    in_map: float
    score_usual: float
    score_unit: float
    map_unit: float
    sources: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a head says of one frame: the decision's score, and the map that is shown, float32 [g, g]."""

    score: float
    grid_map: Grid


@dataclass(frozen=True, slots=True)
class Readout:
    """How a member's map becomes its image score; see `recipes.Recipe`."""

    reading: Reading
    top_share: float
    sigma_px: float
    size_px: int

    def score(self, grid_map: Grid) -> float:
        """The image score of one map."""
        if self.reading == "smoothed_max":
            return float(self.smoothed(grid_map).max())
        return top_mean(grid_map.ravel(), self.top_share)

    def smoothed(self, grid_map: Grid) -> Grid:
        """Bilinear to input resolution, then the Gaussian; the map itself where there is none."""
        if not self.sigma_px:
            return grid_map
        large = cv2.resize(grid_map, (self.size_px, self.size_px), interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.GaussianBlur(large, (0, 0), self.sigma_px), np.float32)


def top_mean(values: NDArray[np.float32], share: float) -> float:
    """Mean of the highest `share` of the values, of at least one."""
    count = max(1, round(share * values.size))
    return float(np.partition(values, values.size - count)[values.size - count :].mean())


def to_measure(distances: NDArray[np.float32], is_cosine: bool) -> NDArray[np.float32]:
    """Euclidean distances as they are; between unit vectors as 1 - cosine = distance^2 / 2, in [0, 2]."""
    return np.minimum(distances**2 / 2.0, 2.0) if is_cosine else distances


class PrototypeHead:
    """A head ready on one engine. Same frames, same answers, however they are batched."""

    def __init__(self, members: Sequence[Member], readout: Readout, engine: Engine) -> None:
        self.members = tuple(members)
        self.readout = readout
        self._searches: list[Search] = [engine.search(member.bank) for member in self.members]
        self._usual = usual(self.members)

    def judge(self, embedded: Sequence[Patches]) -> list[Judgement]:
        """`embedded`: one [B, P, C] per embedding of the pass. A frame whose numbers are not finite gets a score
        that is not finite; the others are not touched by it.
        """
        measured = [self.measure(index, embedded[member.embedding]) for index, member in enumerate(self.members)]
        return [self.blend([maps[row] for maps in measured]) for row in range(len(measured[0]))]

    def measure(self, index: int, patches: Patches) -> NDArray[np.float32]:
        """The raw maps of one member, float32 [B, g, g]."""
        member = self.members[index]
        distances = self._searches[index].distances(patches)
        return to_measure(distances, member.bank.unit_length).reshape(len(distances), member.grid, member.grid)

    def blend(self, maps: Sequence[Grid]) -> Judgement:
        """One frame's raw maps, one per member, to its decision (never below 0) and its map."""
        scores = [self.readout.score(each) for each in maps]
        finest = max(member.grid for member in self.members if member.in_map)
        blended = np.zeros((finest, finest), np.float32)
        for member, grid_map in zip(self.members, maps, strict=True):
            if member.in_map:
                blended += enlarge(grid_map, finest) * np.float32(member.in_map / member.map_unit)
        return Judgement(worst(self.members, scores, self._usual), self.readout.smoothed(blended))


def usual(members: Sequence[Member]) -> float:
    """The score of a frame that all deciding members find ordinary: the mean of their medians in their units."""
    deciding = [member for member in members if member.in_decision]
    ordinary = [member.in_decision * member.score_usual / member.score_unit for member in deciding]
    return sum(ordinary) / max(1, len(ordinary))


def worst(members: Sequence[Member], scores: Sequence[float], ordinary: float) -> float:
    """[R] How far a frame is beyond the ordinary for the member that minds it most, plus `usual` of the members.

    `scores`: image scores, one per member. A single member's score stays what it is, in its unit. Not finite where a
    deciding score is not.
    """
    excesses = [
        member.in_decision * (score - member.score_usual) / member.score_unit
        for member, score in zip(members, scores, strict=True)
        if member.in_decision
    ]
    return float(np.maximum(np.max(excesses) + ordinary, 0.0))


def enlarge(grid_map: Grid, side: int) -> Grid:
    """A map on a finer grid, bilinear."""
    if grid_map.shape[0] == side:
        return grid_map
    return np.asarray(cv2.resize(grid_map, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)
