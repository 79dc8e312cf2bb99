"""The prototype head: distance of every patch to the nearest good patch (ProtoAD, arXiv 2310.02576).

[A] A frozen network, layers joined on one grid, s = 1 - max_k cos(x, m_k), image score from the map.
[R] Banks, blends and scales of the tuned default are ours; `protoad` follows the paper where it is known.
A head is a list of members. Each member has a weight in the decision, in the map, or in both. A member of the decision
compares patches with a bank, each patch with good patches of its own place (after PaDiM, arXiv 2011.08785), or the
frame as a whole with good frames. A bank of several covers of one embedding, each picked from another first patch,
gives the mean of the covers' scores, because the score of one cover depends on its first patch. Each member's score is
measured in the spread that it has on good images. A frame gets the worst of these scores, so that a defect which only
one member sees is not averaged away. This module uses no torch and no files.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.errors import ArtifactError
from inspector.vision.engines.protocols import Bank, Engine, Patches, Search
from inspector.vision.heads.base import EmbeddingUse, Grid, Judgement, Readout, enlarge
from inspector.vision.heads.stored import finite, floats
from inspector.vision.images.preparation import Preparation
from inspector.vision.networks.graphs import Graph

_UNITS = ("in_decision", "in_map", "score_usual", "score_unit", "map_unit")


@dataclass(frozen=True, slots=True)
class Member:
    """One bank with its weights.

    `embedding` and `grid` say which patches of the pass the bank is compared with. `score_usual` and `score_unit`:
    median and spread of the member's image scores on good images; `map_unit`: spread of its patch distances on good
    images. `sources`: int32 [K, 3], the image, row and column of each prototype, -1 for what is unknown.
    A pooled bank gives a map of one cell. `top_share`: the member's own share of the map that makes its score, None for
    the head's.
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
    top_share: float | None = None

    @property
    def channels(self) -> int:
        """The channels that the member's embedding must have."""
        return self.bank.mean.size // 2 if self.bank.is_pooled else self.bank.mean.size

    def readout(self, shared: Readout) -> Readout:
        """How the member's maps become its score. `shared`: the head's readout."""
        return shared if self.top_share is None else replace(shared, top_share=self.top_share)

    def score(self, readout: Readout, maps: Grid) -> float:
        """The image score of the member by its maps [covers, g, g]. `readout`: the head's."""
        return self.readout(readout).mean_score(maps)

    def to_manifest(self) -> dict[str, Any]:
        optional = {"is_pooled": self.bank.is_pooled or None, "top_share": self.top_share}
        return {
            **{name: value for name, value in optional.items() if value is not None},
            "embedding": self.embedding,
            **{name: getattr(self, name) for name in _UNITS},
            "unit_length": self.bank.unit_length,
            "covers": self.bank.covers,
            "prototypes": len(self.bank.prototypes),
        }

    def tensors(self) -> dict[str, NDArray[Any]]:
        found: dict[str, NDArray[Any]] = {
            "mean": self.bank.mean,
            "prototypes": self.bank.prototypes,
            "sources": self.sources,
        }
        optional = {"projection": self.bank.projection, "scales": self.bank.scales}
        return found | {name: array for name, array in optional.items() if array is not None}


@dataclass(frozen=True, slots=True)
class PrototypeModel:
    """A fitted prototype head. Implements `base.HeadModel`."""

    members: tuple[Member, ...]
    readout: Readout

    @property
    def kind(self) -> str:
        return "prototype"

    @property
    def embeddings(self) -> tuple[EmbeddingUse, ...]:
        return tuple(EmbeddingUse(member.embedding, member.channels) for member in self.members)

    def tensors(self) -> dict[str, NDArray[Any]]:
        return {
            f"member.{number}.{name}": array
            for number, member in enumerate(self.members)
            for name, array in member.tensors().items()
        }

    def to_manifest(self) -> dict[str, Any]:
        return {
            "readout": self.readout.to_manifest(),
            "members": [member.to_manifest() for member in self.members],
        }

    def open(self, engine: Engine) -> PrototypeHead:
        return PrototypeHead(self, engine)


def read_prototype_model(
    stored: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]], graph: Graph, preparation: Preparation
) -> PrototypeModel:
    """The model that an artifact stores, checked. Raises as `factory.ModelReader`.

    The tensors of each bank fit together and fit the embedding. At least one member has a weight in the decision, and
    at least one has a weight in the map.
    """
    members = tuple(_read_member(number, item, graph, tensors) for number, item in enumerate(stored["members"]))
    if not (any(member.in_decision for member in members) and any(member.in_map for member in members)):
        raise ArtifactError("The artifact has no bank that decides, or none that draws the map.")
    return PrototypeModel(members, Readout.from_manifest(stored["readout"], preparation.size_px))


def _read_member(number: int, stored: Mapping[str, Any], graph: Graph, tensors: Mapping[str, NDArray[Any]]) -> Member:
    name, index = f"member.{number}", int(stored["embedding"])
    projection, scales = (tensors.get(f"{name}.{part}") for part in ("projection", "scales"))
    prototypes = floats(tensors[f"{name}.prototypes"])
    bank = Bank(
        floats(tensors[f"{name}.mean"]),
        None if projection is None else floats(projection),
        # Searches take a bank's prototypes as columns: laid out like this, they need no copy of their own.
        prototypes if scales is not None else np.asfortranarray(prototypes),
        bool(stored["unit_length"]),
        int(stored["covers"]),
        stored.get("is_pooled", False) is True,
        None if scales is None else floats(scales),
    )
    top_share = None if stored.get("top_share") is None else finite(stored["top_share"])
    member = Member(
        embedding=index,
        grid=1 if bank.is_pooled else graph.grid(index),
        bank=bank,
        sources=tensors[f"{name}.sources"],
        top_share=top_share,
        **{unit: finite(stored[unit]) for unit in _UNITS},
    )
    if not _fits(member) or (bank.is_placed and len(bank.prototypes) != graph.patches(index)):
        raise ArtifactError(f"The artifact's bank {number} does not fit together.")
    if min(member.in_decision, member.in_map) < 0 or min(member.score_unit, member.map_unit) <= 0:
        raise ArtifactError(f"The artifact's bank {number} has an impossible weight or unit.")
    if member.in_map and bank.is_pooled:
        raise ArtifactError(f"The artifact's bank {number} can't draw a map.")
    if top_share is not None and not 0 < top_share <= 1:
        raise ArtifactError(f"The artifact's bank {number} is read from an impossible share of its map.")
    return member


def _fits(member: Member) -> bool:
    """Whether the bank's tensors have one width, its covers have one size, and each prototype has a source."""
    bank = member.bank
    width = bank.mean.shape[0] if bank.projection is None else bank.projection.shape[-1]
    return (
        bank.mean.ndim == 1
        and bank.mean.size == member.channels * (2 if bank.is_pooled else 1)
        and (bank.projection is None or bank.projection.shape == (bank.mean.size, width))
        and bank.prototypes.ndim == 2
        and bank.prototypes.shape[1] == width > 0
        and member.sources.shape == (len(bank.prototypes), 3)
        and len(bank.prototypes) > 0
        and bank.covers > 0
        and len(bank.prototypes) % bank.covers == 0
        and (bank.scales is None or _has_places(bank))
        and bool(np.issubdtype(member.sources.dtype, np.integer))
    )


def _has_places(bank: Bank) -> bool:
    """Whether a bank of places has scales above 0 for each, and is of no other kind as well."""
    is_plain = bank.covers == 1 and not bank.is_pooled and not bank.unit_length
    scales = bank.scales
    return is_plain and scales is not None and scales.shape == bank.prototypes.shape and bool((scales > 0).all())


def to_measure(distances: NDArray[np.float32], is_cosine: bool) -> NDArray[np.float32]:
    """Euclidean distances, unchanged. With `is_cosine`, for unit vectors: 1 - cosine = distance^2 / 2, in [0, 2]."""
    return np.minimum(distances**2 / 2.0, 2.0) if is_cosine else distances


class PrototypeHead:
    """A prototype head that is ready on one engine. Implements `base.Head`."""

    def __init__(self, model: PrototypeModel, engine: Engine) -> None:
        self.members = model.members
        self.readout = model.readout
        self._engine = engine
        self._searches: dict[int, Search] = {}
        for member in self.members:
            engine.search(member.bank)  # what all products share is made now, not in the way of the first reject
        self._deciding = [index for index, member in enumerate(self.members) if member.in_decision]
        self._joint = engine.joint_search([self.members[index].bank for index in self._deciding])
        self._readouts = [member.readout(self.readout) for member in self.members]
        self._usual = usual(self.members)

    def judge(self, embedded: Sequence[Patches]) -> list[Judgement]:
        """One judgement per frame. `embedded`: one [B, P, C] per embedding of the pass.

        A frame whose numbers are not finite gets a score that is not finite. The other frames are not affected.
        """
        patches = [embedded[self.members[index].embedding] for index in self._deciding]
        deciding = {
            index: self._as_maps(index, distances)
            for index, distances in zip(self._deciding, self._joint.distances(patches), strict=True)
        }
        scores = self._scores(deciding)
        return [
            Judgement(
                worst(self.members, found, self._usual),
                partial(
                    self._draw,
                    [each[row : row + 1] for each in embedded],
                    {index: maps[row] for index, maps in deciding.items() if self.members[index].in_map},
                ),
            )
            for row, found in enumerate(scores)
        ]

    def _scores(self, deciding: Mapping[int, NDArray[np.float32]]) -> list[dict[int, float]]:
        """The image scores of each frame by member. `deciding`: raw maps [B, covers, g, g] by member.

        Maps of one size that are read alike are read together, because each reading has a cost of its own.
        """
        alike: dict[tuple[Readout, tuple[int, ...]], list[int]] = {}
        for index, maps in deciding.items():
            alike.setdefault((self._readouts[index], maps.shape[2:]), []).append(index)
        found: list[dict[int, float]] = [{} for _ in next(iter(deciding.values()))]
        for (readout, _), indices in alike.items():
            parts = [deciding[index] for index in indices]
            together = [maps.reshape(-1, *maps.shape[2:]) for maps in parts]
            of_maps = readout.scores(np.concatenate(together) if len(together) > 1 else together[0])
            start = 0
            for index, (frames, covers) in zip(indices, (maps.shape[:2] for maps in parts), strict=True):
                own = of_maps[start : start + frames * covers].reshape(frames, covers)
                start += frames * covers
                for row, total in enumerate(np.add.reduce(own, axis=1)):
                    found[row][index] = float(total / np.float32(covers))
        return found

    def measure(self, index: int, patches: Patches) -> NDArray[np.float32]:
        """The raw maps of one member, float32 [B, covers, g, g], or [B, covers, g, g / 2] of a checkered embedding."""
        return self._as_maps(index, self._search(index).distances(patches))

    def nearest(self, index: int, patches: Patches) -> NDArray[np.int64]:
        """The number of the nearest prototype of one member for each patch, int64 [B, P]. Slow, for people."""
        return self._search(index).indices(patches)

    def _search(self, index: int) -> Search:
        """The search of one member alone, made when a map is first drawn: each holds a copy of its bank.

        Two threads may both make one; either serves.
        """
        found = self._searches.get(index)
        if found is None:
            found = self._searches.setdefault(index, self._engine.search(self.members[index].bank))
        return found

    def _as_maps(self, index: int, distances: NDArray[np.float32]) -> NDArray[np.float32]:
        member = self.members[index]
        rows = member.grid if distances.shape[2] % member.grid == 0 else 1  # a checkered grid of odd side has no rows
        return to_measure(distances, member.bank.unit_length).reshape(*distances.shape[:2], rows, -1)

    def blend(self, maps: Sequence[Grid]) -> Judgement:
        """The judgement of one frame, from the raw map [covers, g, g] of each member. Its score is never below 0."""
        found = dict(enumerate(maps))
        scores = {index: self._score(index, found[index]) for index in found if self.members[index].in_decision}
        return Judgement(worst(self.members, scores, self._usual), self._blended(found))

    def _score(self, index: int, maps: Grid) -> float:
        return self.members[index].score(self.readout, maps)

    def _draw(self, embedded: Sequence[Patches], known: Mapping[int, Grid]) -> Grid:
        """The shown map of one frame. `embedded`: [1, P, C] per embedding. `known`: raw maps made for the decision."""
        found = {
            index: known[index] if index in known else self.measure(index, embedded[member.embedding])[0]
            for index, member in enumerate(self.members)
            if member.in_map
        }
        return self._blended(found)

    def _blended(self, maps: Mapping[int, Grid]) -> Grid:
        """The shown map, blended and smoothed.

        `maps`: raw maps [covers, g, g], at least those of all members with a weight in the map.
        """
        drawing = [(index, member) for index, member in enumerate(self.members) if member.in_map]
        finest = max(member.grid for _, member in drawing)
        blended = np.zeros((finest, finest), np.float32)
        for index, member in drawing:
            whole = on_whole_grid(maps[index].mean(axis=0), member.grid)
            blended += enlarge(whole, finest) * np.float32(member.in_map / member.map_unit)
        return self.readout.smoothed(blended)


def on_whole_grid(cells: NDArray[np.float32], grid: int) -> Grid:
    """Values of a grid's cells, or of the fields of one colour of a checkered grid, as float32 [grid, grid].

    A field of the other colour gets the mean of the fields beside it.
    """
    if cells.size == grid * grid:
        return cells.reshape(grid, grid)
    ours, shares = _fields(grid)
    whole = np.zeros((grid, grid), np.float32)
    whole[ours] = cells.ravel()
    return whole + cv2.filter2D(whole, -1, _BESIDE, borderType=cv2.BORDER_CONSTANT) * shares


_BESIDE = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32)


@functools.lru_cache(maxsize=16)
def _fields(grid: int) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """The fields of one colour, and for each of the other colour the share of a field beside it in its mean, else 0."""
    ours = np.add.outer(np.arange(grid), np.arange(grid)) % 2 == 0
    count = cv2.filter2D(ours.astype(np.float32), -1, _BESIDE, borderType=cv2.BORDER_CONSTANT)
    shares = np.where(ours, 0.0, 1.0 / np.maximum(count, 1.0)).astype(np.float32)
    ours.flags.writeable = shares.flags.writeable = False
    return ours, shares


ORDINARY = 10.0
"""The score of an ordinary frame, in units of the spread. With few calibration images, the threshold is their largest
score plus 5 %. With this value 5 % is half a spread; with the distance of random patches it would be two spreads."""


def usual(members: Sequence[Member]) -> float:
    """The score of a frame that is ordinary for all members of the decision.

    A single member of the decision keeps its own scale.
    """
    deciding = [member for member in members if member.in_decision]
    if len(deciding) != 1:
        return ORDINARY
    (alone,) = deciding
    return alone.in_decision * alone.score_usual / alone.score_unit


def worst(members: Sequence[Member], scores: Mapping[int, float], ordinary: float) -> float:
    """[R] The score of a frame: the largest excess over an ordinary score among the members, plus `ordinary`.

    `scores`: image scores of the members of the decision, by their index. `ordinary`: the result of `usual`. A single
    member's score is only divided by its unit. The result is not finite where one of the scores is not finite.
    """
    excesses = [
        members[index].in_decision * (score - members[index].score_usual) / members[index].score_unit
        for index, score in scores.items()
    ]
    return float(np.maximum(np.max(excesses) + ordinary, 0.0))
