"""From prepared good images to a head with its units: sampling of patches, banks, held-out scores.

Memory is bounded by a fixed number of sampled patches however many images there are. An image whose
score calibrates a head is never in that head's bank. Deterministic: same images, same head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inspector.errors import UsageError
from inspector.training.dataset.gathering import Progress
from inspector.training.heads.recipes import MemberRecipe, Recipe
from inspector.training.statistics.clustering import (
    farthest_first,
    first_neighbour_means,
    kmeans,
    nearest_to,
    spherical_kmeans,
)
from inspector.vision.engines.protocols import Bank, Embedder, Engine, on_host, unit_length
from inspector.vision.heads.base import Judgement, Readout
from inspector.vision.heads.prototype import Member, PrototypeHead
from inspector.vision.networks.graphs import Graph
from inspector.vision.serving.tiling import apart, join

SAMPLED_PATCHES = 40_000
BATCH = 8
WHITENING_FLOOR = 0.01
"""Share of the mean variance added to each: directions that good images hardly vary in are noise."""
ROUNDS = 4
TRIAL_ROUNDS = 1
"""Of moving centres: the spread of a map's distances is known after one, the map itself gains until four."""
SMALLEST_UNIT = 0.02
"""Of the mean: a spread of a few images is not believed below this."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """Sampled patches of one embedding. `places`: int32 [M, 3], image, row, column, tiles one below the other."""

    vectors: NDArray[np.float32]
    places: NDArray[np.int32]


class HeadFitter:
    """Fits heads of one recipe on subsets of one set of images; each image is sampled once.

    `inputs`: the prepared canvases, uint8 [Hc, Wc, 3] each; images are named by their index in it. `embedder`
    takes whole canvases; a frame's tiles share one bank.
    """

    def __init__(
        self, recipe: Recipe, graph: Graph, engine: Engine, inputs: Sequence[NDArray[np.uint8]], embedder: Embedder
    ) -> None:
        self._recipe = recipe
        self._graph = graph
        self._engine = engine
        self._inputs = inputs
        self._embedder = embedder
        self._batch = max(1, BATCH // recipe.preparation.tile_count)
        self._samples: list[_Sample] = []
        self._readout = Readout(recipe.reading, recipe.top_share, recipe.sigma_px, recipe.preparation.size_px)

    def sample(self, indices: Sequence[int], progress: Progress) -> None:
        """Look at these images once and keep about 40,000 of their patches per embedding."""
        rng = np.random.default_rng(0)
        per_image = max(1, -(-SAMPLED_PATCHES // len(indices)))
        kept: list[list[_Sample]] = [[] for _ in self._graph.embeddings]
        for start in range(0, len(indices), self._batch):
            batch = indices[start : start + self._batch]
            embedded = self._embedder(np.stack([self._inputs[i] for i in batch]))
            for number, patches in enumerate(embedded):
                rows = on_host(patches)
                for image, frame in zip(batch, rows, strict=True):
                    kept[number].append(self._pick(frame, image, self._graph.grid(number), per_image, rng))
            progress("features", min(start + self._batch, len(indices)), len(indices))
        self._samples = [
            _Sample(np.concatenate([s.vectors for s in parts]), np.concatenate([s.places for s in parts]))
            for parts in kept
        ]

    def _pick(self, frame: NDArray[np.float32], image: int, grid: int, count: int, rng: np.random.Generator) -> _Sample:
        cells = np.arange(len(frame))
        if len(cells) > count:
            cells = rng.choice(cells, count, replace=False)
        places = np.stack([np.full(len(cells), image), cells // grid, cells % grid], axis=1).astype(np.int32)
        return _Sample(frame[cells].copy(), places)

    def fit(self, indices: Sequence[int], progress: Progress | None = None, *, is_trial: bool = False) -> list[Member]:
        """Banks from the sampled patches of these images; units are 1 until `with_units`.

        `is_trial`: they only measure spreads. Those that decide are as they would be deployed, those that only draw the
        map are made in fewer rounds; none knows its sources.
        """
        rng = np.random.default_rng(0)
        wanted = np.zeros(len(self._inputs), np.bool_)
        wanted[list(indices)] = True
        members = []
        for number, recipe in enumerate(self._recipe.members):
            which = self._graph.embeddings.index(recipe.embedding)
            sample = self._samples[which]
            inside = wanted[sample.places[:, 0]]
            bank, picked = build_covers(sample.vectors[inside], recipe, rng, is_trial=is_trial)
            sources = np.full((len(bank.prototypes), 3), -1, np.int32)
            if picked is not None:
                sources = sample.places[inside][picked]
            grid = self._graph.grid(which)
            members.append(Member(which, grid, bank, recipe.in_decision, recipe.in_map, 0.0, 1.0, 1.0, sources))
            if progress is not None:
                progress("prototypes", number + 1, len(self._recipe.members))
        return members

    def head(self, members: Sequence[Member]) -> PrototypeHead:
        return PrototypeHead(members, self._readout, self._engine)

    def measure(self, members: Sequence[Member], indices: Sequence[int], progress: Progress) -> list[RawMaps]:
        """Raw maps of these images, one `RawMaps` each, in order."""
        head = self.head(members)
        found: list[RawMaps] = []
        for start in range(0, len(indices), self._batch):
            batch = indices[start : start + self._batch]
            embedded = self._embedder(np.stack([self._inputs[i] for i in batch]))
            tiles = apart(embedded, self._recipe.preparation)
            maps = [head.measure(number, tiles[member.embedding]) for number, member in enumerate(members)]
            grouped = [each.reshape(len(batch), -1, *each.shape[1:]) for each in maps]  # [B, T, covers, g, g]
            found += [RawMaps(image, [each[row] for each in grouped]) for row, image in enumerate(batch)]
            progress("held-out scores", min(start + self._batch, len(indices)), len(indices))
        return found

    def scores(self, measured: Sequence[RawMaps]) -> NDArray[np.float64]:
        """Image scores of each member on its own, its worst tile's, float64 [members, images]; before any unit."""
        worst = [[max(map(self._readout.mean_score, maps)) for maps in raw.maps] for raw in measured]
        return np.array(worst, np.float64).T

    def units(self, members: Sequence[Member], measured: Sequence[RawMaps]) -> list[Member]:
        """The same members with the median and spread of these images' scores, and that of their patch distances."""
        scaled = []
        for number, member in enumerate(members):
            patches = np.concatenate([raw.maps[number] for raw in measured])  # [N * T, covers, g, g]
            scores = np.array([self._readout.mean_score(each) for each in patches])
            ordinary = float(np.median(scores))
            scaled.append(
                replace(member, score_usual=ordinary, score_unit=spread_of(scores), map_unit=spread_of(patches))
            )
        return scaled

    @staticmethod
    def with_units(members: Sequence[Member], units_of: Sequence[Member]) -> list[Member]:
        """These members with the units of the others, one by one."""
        return [
            replace(member, score_usual=other.score_usual, score_unit=other.score_unit, map_unit=other.map_unit)
            for member, other in zip(members, units_of, strict=True)
        ]

    def blend(self, members: Sequence[Member], measured: Sequence[RawMaps]) -> list[Judgement]:
        """What a head of these members says of maps that were measured already."""
        head = self.head(members)
        of_tiles = [head.blend(maps) for raw in measured for maps in zip(*raw.maps, strict=True)]
        return join(of_tiles, self._recipe.preparation)


@dataclass(frozen=True, slots=True)
class RawMaps:
    """One image's maps before they are blended, one float32 [T, covers, g, g] per member, T being its tiles."""

    image: int
    maps: list[NDArray[np.float32]]


def spread_of(values: NDArray[np.floating]) -> float:
    """Standard deviation, not believed where it is next to nothing beside the mean."""
    return float(max(values.std(), SMALLEST_UNIT * abs(values.mean()), 1e-6))


def build_covers(
    vectors: NDArray[np.float32], recipe: MemberRecipe, rng: np.random.Generator, *, is_trial: bool = False
) -> tuple[Bank, NDArray[np.int64] | None]:
    """The banks of `build_bank`, as many as the recipe has covers, each begun elsewhere, as one."""
    built = [build_bank(vectors, recipe, rng, is_trial=is_trial) for _ in range(recipe.covers)]
    # Few different patches give few prototypes: repeated ones change no distance.
    most = max(len(bank.prototypes) for bank, _ in built)
    repeats = [np.arange(most) % len(bank.prototypes) for bank, _ in built]
    prototypes = [bank.prototypes[which] for (bank, _), which in zip(built, repeats, strict=True)]
    picked = [found[which] for (_, found), which in zip(built, repeats, strict=True) if found is not None]
    bank = replace(built[0][0], prototypes=np.concatenate(prototypes), covers=recipe.covers)
    return bank, np.concatenate(picked) if picked else None


def build_bank(
    vectors: NDArray[np.float32], recipe: MemberRecipe, rng: np.random.Generator, *, is_trial: bool = False
) -> tuple[Bank, NDArray[np.int64] | None]:
    """Prototypes of sampled patches [N, C]; and which patches they are or are nearest to, None where none is.

    `is_trial`: as `HeadFitter.fit` says.
    """
    if recipe.unit_length:
        mean = np.zeros(vectors.shape[1], np.float32)
        projected, projection = unit_length(vectors), None
    else:
        mean = vectors.mean(axis=0)
        projection = _whitening(vectors - mean) if recipe.whiten else None
        projected = vectors - mean if projection is None else (vectors - mean) @ projection
    if recipe.clustering == "farthest-first":
        picked = farthest_first(projected, recipe.prototypes, rng)
        return Bank(mean, projection, np.ascontiguousarray(projected[picked]), recipe.unit_length), picked
    if recipe.clustering == "kmeans":
        rounds = TRIAL_ROUNDS if is_trial and not recipe.in_decision else ROUNDS
        centres = kmeans(projected, recipe.prototypes, rng, rounds)
        nearest = None if is_trial else nearest_to(centres, projected)
        return Bank(mean, projection, centres, recipe.unit_length), nearest
    if not recipe.unit_length:
        raise UsageError(f"The clustering {recipe.clustering} needs vectors of unit length.")
    if recipe.clustering == "spherical-kmeans":
        means = spherical_kmeans(projected, recipe.prototypes, rng)
    else:
        # Of all images: the sample lies in their order.
        some = rng.permutation(len(projected))[:FIRST_NEIGHBOUR_PATCHES]
        means = first_neighbour_means(projected[np.sort(some)], recipe.prototypes)
    return Bank(mean, projection, means, unit_length=True), None


FIRST_NEIGHBOUR_PATCHES = 10_000
"""All pairs are compared: ten thousand take seconds, forty thousand minutes."""


def _whitening(centred: NDArray[np.float32]) -> NDArray[np.float32]:
    """Float32 [C, C]: rotates to the principal axes and divides by their spread."""
    variances, axes = np.linalg.eigh(np.cov(centred.T))
    scale = 1.0 / np.sqrt(variances + WHITENING_FLOOR * variances.mean())
    return np.ascontiguousarray(axes * scale, dtype=np.float32)


def held_out(count: int, share: float = 0.2) -> NDArray[np.bool_]:
    """Which of `count` images, in file order, are held out: short runs spread over the whole set.

    Neighbours in file order are often shots of one part; runs keep most of them on one side.
    """
    run = max(1, count // 50)
    period = max(2, round(1.0 / share))
    return np.asarray((np.arange(count) // run) % period == period - 1, np.bool_)
