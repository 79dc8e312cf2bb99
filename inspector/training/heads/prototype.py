"""The prototype heads `prototype` and `protoad`: their recipes, and how they are fitted from prepared good images.

Memory is bounded for any number of images, because a fixed number of patches is sampled. An image whose score
calibrates a head is never in that head's bank. The same images always give the same head. Cost is counted in passes of
the default backbone at 256 px: `fast` should stay within 1.25, which needs a smaller input, and `standard` within 1.6;
`fine` has no limit (docs/measurements.md has the measured values).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.training.dataset.gathering import Progress
from inspector.training.dataset.splitting import SPLIT_FROM, held_out
from inspector.training.heads.adapting import nearest_embedding, whole_size
from inspector.training.heads.banks import (
    Clustering,
    MemberRecipe,
    Placed,
    build_covers,
    build_pooled,
    distances_from,
    placed,
)
from inspector.training.heads.base import Fitted, FittingInputs, TrialParts, TrialScores
from inspector.training.heads.fitted import calibrated
from inspector.training.heads.student_plan import TrainingPlan
from inspector.vision.engines.pooling import pooled
from inspector.vision.engines.protocols import Embedder, Engine, on_host
from inspector.vision.heads.base import Judgement, Reading, Readout
from inspector.vision.heads.prototype import Member, PrototypeHead, PrototypeModel, usual, worst
from inspector.vision.images.preparation import Preparation
from inspector.vision.networks.graphs import Embedding, Graph
from inspector.vision.serving.tiling import join, split_tiles

FOLDS = 10
SAMPLED_PATCHES = 40_000
PLACED_FRAMES = 256
"""Most frames that a bank of places learns from; they are kept whole, 180 KB each in `standard`."""
PLACED_FROM = 20
"""Fewer images have no bank of places: of six to eight, a place knows so little that a tenth to a quarter of new good
parts were rejected; of twelve none was."""
BATCH = 8
SMALLEST_UNIT = 0.02
"""Lower bound for a score's unit, as a share of its mean: the spread of a few images is unreliable."""


@dataclass(frozen=True, slots=True)
class PrototypeRecipe:
    """A prototype head at one profile. Implements `base.HeadRecipe`.

    A list of members (embedding, banks, weights in the decision and in the map), and how a map becomes an image score:
    see `vision.heads.base.Readout`.
    """

    head: str
    profile: str
    preparation: Preparation
    members: tuple[MemberRecipe, ...]
    reading: Reading = "top_share"
    top_share: float = 0.03
    sigma_px: float = 0.0
    is_exposure_chosen: bool = True

    @property
    def deciding(self) -> PrototypeRecipe:
        """The same recipe with only the members that have a weight in the decision."""
        return replace(self, members=tuple(member for member in self.members if member.in_decision))

    @property
    def embeddings(self) -> tuple[Embedding, ...]:
        """Each embedding once, in order of first use."""
        return tuple(dict.fromkeys(member.embedding for member in self.members))

    @property
    def readout(self) -> Readout:
        return Readout(self.reading, self.top_share, self.sigma_px, self.preparation.size_px)

    def adapted(self, strides: Sequence[int], _backbone: str, /) -> PrototypeRecipe:
        """The recipe with each stride replaced by the backbone's nearest stride. Members that become equal are merged.

        The input may shrink a little. A recipe whose strides all exist stays unchanged.
        """
        members: dict[tuple[object, ...], MemberRecipe] = {}
        for member in self.members:
            fitting = replace(member, embedding=nearest_embedding(member.embedding, strides))
            kind = (fitting.is_pooled, fitting.is_placed)
            key = (fitting.embedding, fitting.whiten, fitting.unit_length, fitting.clustering, kind)
            members[key] = _merged(members[key], fitting) if key in members else fitting
        recipe = replace(self, members=tuple(members.values()))
        size_px = whole_size(recipe.embeddings, self.preparation.size_px)
        return recipe.with_preparation(replace(self.preparation, size_px=size_px))

    def with_preparation(self, preparation: Preparation) -> PrototypeRecipe:
        """The recipe for other inputs. Tiles share their banks, so that a patch of a tile has no place of its own."""
        recipe = self if preparation.tile_count == 1 else self._without_places()
        return replace(recipe, preparation=preparation)

    def _without_places(self) -> PrototypeRecipe:
        return replace(self, members=tuple(member for member in self.members if not member.is_placed))

    @property
    def exposure_judge(self) -> PrototypeRecipe:
        """Without banks of places: they see drawn defects best in frames as they are, and real lots differ in light.

        With them, solar_mono stayed as it is and lost 0.11 AUROC (docs/experiments.md).
        """
        return self._without_places()

    def calibrating(self, count: int) -> list[int]:
        return np.flatnonzero(held_out(count)).tolist() if count >= SPLIT_FROM else []

    def fit(self, inputs: FittingInputs, alpha: float) -> Fitted:
        """The fitted head. A fifth of many images calibrates it; few images are all scored by cross-fit."""
        recipe = self if len(inputs.canvases) >= PLACED_FROM else self._without_places()
        fitter = recipe._fitter(inputs)
        how = _fit_held_out if len(inputs.canvases) >= SPLIT_FROM else _fit_crossed
        fitted = how(fitter, len(inputs.canvases), alpha, inputs.tell)
        inputs.phase_ended("fit")
        return fitted

    def judge_trial(self, inputs: FittingInputs, parts: TrialParts) -> TrialScores:
        """Judge by the members that decide, each in units of its spread on the clean images."""
        fitter = self.deciding._fitter(inputs)
        fitter.sample(parts.learnt, inputs.tell)
        members = fitter.fit(parts.learnt)
        views = fitter.scores(members, fitter.measure(members, [*parts.clean, *parts.planted], inputs.tell))
        clean = views[:, : len(parts.clean)]
        scaled = [
            replace(member, score_usual=float(np.median(scores)), score_unit=spread_of(scores))
            for member, scores in zip(members, clean, strict=True)
        ]
        decision = [worst(scaled, dict(enumerate(image.tolist())), usual(scaled)) for image in views.T]
        return TrialScores(np.array(decision, np.float64), views, len(parts.clean))

    def to_manifest(self, _plan: TrainingPlan) -> dict[str, Any]:
        return {"clustering": [member.clustering for member in self._without_places().members], "training": None}

    def _fitter(self, inputs: FittingInputs) -> PrototypeFitter:
        return PrototypeFitter(self, inputs.passes.graph, inputs.engine, inputs.canvases, inputs.passes.embedder)


def _merged(one: MemberRecipe, other: MemberRecipe) -> MemberRecipe:
    return replace(
        one,
        prototypes=max(one.prototypes, other.prototypes),
        covers=max(one.covers, other.covers),
        in_decision=max(one.in_decision, other.in_decision),
        in_map=one.in_map + other.in_map,
    )


# Why these members (leave-one-product-out over twelve products; docs/experiments.md). They are unlike each other, and
# each finds what the others miss:
# - Covers of strides 16, 8 and 4+8: parts and rare good patterns. Covers beat means of clusters, which lose rare good
#   patterns. The patch that a cover begins at moves one product's AUROC by 0.03, so that each has three small covers,
#   and one of these members alone is lucky or not: stride 16 alone loses 0.07 on fabric.
# - Fine: textures and small defects. Its patches are single cells: where cells are averaged, fine textures all look
#   alike. An eighth of the stride-4 grid sees as much as all of it.
# - Places: parts and textures that lie in one way or in a few, down to a cell. Where they lie in many, good frames
#   spread widely at each place and it says nothing.
# - Whole: changes of the frame as a whole, which no single patch shows. Lighting moves it too, so that it counts less.
# - The map is drawn by the two sharpest of these, whose distances are known, and by whitened single cells, which
#   localise best and detect poorly. It needs no patches of its own, so that frames without a map don't pay for it.
# - `fine` has time for more: centres of clusters on the stride-8 grid draw larger defects better.
_JOINT = Embedding((4, 8, 16), 8, pool=1, join="checkered")
_DEEP = MemberRecipe(Embedding((16,), 16), prototypes=128, covers=3, in_decision=1.0)
_MIDDLE = MemberRecipe(Embedding((8,), 16), prototypes=128, covers=3, in_decision=1.0)
_SHARP = MemberRecipe(Embedding((4, 8), 16), prototypes=128, covers=3, in_decision=1.0, in_map=1.0)
_FINE = MemberRecipe(
    _JOINT,
    prototypes=512,
    unit_length=True,
    in_decision=1.0,
    in_map=1.0,
    clustering="spherical-kmeans",
    top_share=0.01,
    rounds=6,
    axes=64,
)
_PLACES = MemberRecipe(_JOINT, prototypes=1, in_decision=0.5, is_placed=True, top_share=0.01, axes=64)
_WHOLE = MemberRecipe(_JOINT, prototypes=1, in_decision=0.5, is_pooled=True)
_CELLS_MAP = MemberRecipe(_JOINT, prototypes=256, whiten=True, in_map=1.0, clustering="kmeans", axes=64)
_BROAD_MAP = MemberRecipe(Embedding((4, 8, 16), 16), prototypes=256, in_map=1.0, clustering="kmeans")
_SHARP_MAP = MemberRecipe(Embedding((4, 8), 8), prototypes=256, whiten=True, in_map=1.0, clustering="kmeans")
_SHARP_PLAIN_MAP = MemberRecipe(Embedding((4, 8), 8), prototypes=512, in_map=1.0, clustering="kmeans")

_PROTOAD = MemberRecipe(
    Embedding((4, 8, 16), 4, pool=1, join="nearest"),
    prototypes=512,
    unit_length=True,
    in_decision=1.0,
    in_map=1.0,
    clustering="spherical-kmeans",
)

_PROFILES = {
    "fast": PrototypeRecipe(
        "prototype",
        "fast",
        Preparation(size_px=208),
        (_DEEP, _SHARP, replace(_FINE, prototypes=64, axes=None), _PLACES, _WHOLE, _CELLS_MAP),
    ),
    "standard": PrototypeRecipe(
        "prototype",
        "standard",
        Preparation(),
        (_DEEP, _MIDDLE, _SHARP, _FINE, _PLACES, _WHOLE, _CELLS_MAP),
    ),
    "fine": PrototypeRecipe(
        "prototype",
        "fine",
        Preparation(),
        (
            *(replace(member, covers=6) for member in (_DEEP, _MIDDLE, _SHARP)),
            replace(_FINE, axes=None),
            replace(_PLACES, axes=None),
            _WHOLE,
            *(replace(member, prototypes=512) for member in (_BROAD_MAP, _SHARP_MAP)),
            _SHARP_PLAIN_MAP,
        ),
    ),
}


def prototype_recipe(profile: str, _clustering: Clustering | None = None) -> PrototypeRecipe:
    """The recipe of the head `prototype` at a profile: `fast`, `standard` or `fine`."""
    return _PROFILES[profile]


def protoad_recipe(profile: str, clustering: Clustering | None = None) -> PrototypeRecipe:
    """The recipe of the head `protoad`, as in its paper. `clustering`: how it makes prototypes; the paper leaves that
    open."""
    member = replace(_PROTOAD, clustering=clustering or _PROTOAD.clustering)
    return PrototypeRecipe(
        "protoad",
        profile,
        Preparation(fit="squash"),
        (member,),
        reading="smoothed_max",
        sigma_px=4.0,
        is_exposure_chosen=False,
    )


def _fit_held_out(fitter: PrototypeFitter, count: int, alpha: float, progress: Progress) -> Fitted:
    """Fit with a fifth of the images held out for calibration. The units of scores come from the other images only."""
    is_calibrating = held_out(count)
    bank, held = np.flatnonzero(~is_calibrating).tolist(), np.flatnonzero(is_calibrating).tolist()
    fitter.sample(bank, progress)
    is_inner = held_out(len(bank))
    inner = [image for image, is_held in zip(bank, is_inner, strict=True) if is_held]
    outer = [image for image, is_held in zip(bank, is_inner, strict=True) if not is_held]
    trial = fitter.fit(outer, is_trial=True)
    units = fitter.crossed_units(fitter.units(trial, fitter.measure(trial, inner, progress)), bank)
    members = fitter.with_units(fitter.fit(bank, progress), units)
    judged = list(zip(held, fitter.blend(members, fitter.measure(members, held, progress)), strict=True))
    text = f"{len(held)} of {count} images in runs over the file order, never in the bank"
    return calibrated(fitter.model(members), judged, text, alpha)


def _fit_crossed(fitter: PrototypeFitter, count: int, alpha: float, progress: Progress) -> Fitted:
    """Fit with few images: all go into the bank, and each is scored by another head that did not see it."""
    everything = list(range(count))
    fitter.sample(everything, progress)
    folds = min(FOLDS, count)
    measured = []
    members: list[Member] = []
    for fold in range(folds):
        left_out = everything[fold::folds]
        members = fitter.fit([image for image in everything if image not in left_out], is_trial=True)
        measured += fitter.measure(members, left_out, progress)
    units = fitter.units(members, measured)
    members = fitter.with_units(fitter.fit(everything, progress), units)
    judged = list(zip([raw.image for raw in measured], fitter.blend(members, measured), strict=True))
    text = f"{folds}-fold cross-fit over all {count} images"
    return calibrated(fitter.model(members), judged, text, alpha, is_cross_fit=True)


@dataclass(frozen=True, slots=True)
class _Sample:
    """Sampled patches of one embedding. `places`: int32 [M, 3], image, row, column, tiles one below the other."""

    vectors: NDArray[np.float32]
    places: NDArray[np.int32]

    @classmethod
    def joined(cls, parts: Sequence[_Sample]) -> _Sample:
        return cls(np.concatenate([part.vectors for part in parts]), np.concatenate([part.places for part in parts]))

    @property
    def images(self) -> NDArray[np.int32]:
        return self.places[:, 0]

    @classmethod
    def none(cls) -> _Sample:
        return cls(np.empty((0, 0), np.float32), np.empty((0, 3), np.int32))


class PrototypeFitter:
    """Fits heads of one recipe on subsets of one set of images; each image is sampled once.

    `inputs`: the prepared canvases, uint8 [Hc, Wc, 3] each; images are named by their index in it. `embedder`
    takes whole canvases; a frame's tiles share one bank.
    """

    def __init__(
        self,
        recipe: PrototypeRecipe,
        graph: Graph,
        engine: Engine,
        inputs: Sequence[NDArray[np.uint8]],
        embedder: Embedder,
    ) -> None:
        self._recipe = recipe
        self._graph = graph
        self._engine = engine
        self._inputs = inputs
        self._embedder = embedder
        self._batch = max(1, BATCH // recipe.preparation.tile_count)
        self._samples: list[_Sample] = []
        self._frames: list[_Sample] = []
        self._whole: list[_WholeFrames | None] = []
        self._readout = recipe.readout
        pooled_ones = {member.embedding for member in recipe.members if member.is_pooled}
        self._is_pooled = [embedding in pooled_ones for embedding in graph.embeddings]
        placed_ones = {member.embedding for member in recipe.members if member.is_placed}
        self._is_placed = [embedding in placed_ones for embedding in graph.embeddings]

    def sample(self, indices: Sequence[int], progress: Progress) -> None:
        """Look at these images once.

        Of each embedding about 40,000 patches are kept, each pooled frame, and some whole frames for a bank of places.
        """
        rng = np.random.default_rng(0)
        per_image = max(1, -(-SAMPLED_PATCHES // len(indices)))
        kept: list[list[_Sample]] = [[] for _ in self._graph.embeddings]
        frames: list[list[_Sample]] = [[] for _ in self._graph.embeddings]
        whole: list[list[NDArray[np.float16]]] = [[] for _ in self._graph.embeddings]
        placed_ones = list(indices[:: -(-len(indices) // PLACED_FRAMES)])
        is_kept_whole = set(placed_ones)
        for start in range(0, len(indices), self._batch):
            batch = indices[start : start + self._batch]
            embedded = self._embedder(np.stack([self._inputs[i] for i in batch]))
            for number, patches in enumerate(embedded):
                rows = on_host(patches)
                for image, frame in zip(batch, rows, strict=True):
                    kept[number].append(self._pick(frame, image, self._graph.grid(number), per_image, rng))
                    if self._is_placed[number] and image in is_kept_whole:
                        whole[number].append(frame.astype(np.float16))
                    if self._is_pooled[number]:
                        frames[number].append(self._pool(frame, image, self._recipe.preparation.tile_count))
            progress("features", min(start + self._batch, len(indices)), len(indices))
        self._samples = [_Sample.joined(parts) for parts in kept]
        self._frames = [_Sample.joined(parts) if parts else _Sample.none() for parts in frames]
        self._whole = [_WholeFrames(np.stack(parts), np.array(placed_ones)) if parts else None for parts in whole]

    def _pick(self, frame: NDArray[np.float32], image: int, grid: int, count: int, rng: np.random.Generator) -> _Sample:
        cells = np.arange(len(frame))
        if len(cells) > count:
            cells = rng.choice(cells, count, replace=False)
        places = np.stack([np.full(len(cells), image), cells // grid, cells % grid], axis=1).astype(np.int32)
        if len(frame) % (grid * grid):
            places[:, 1:] = -1  # of a checkered grid only the image is kept
        return _Sample(frame[cells].copy(), places)

    @staticmethod
    def _pool(frame: NDArray[np.float32], image: int, tiles: int) -> _Sample:
        """A frame's tiles, pooled. They have no place in the frame."""
        vectors = pooled(frame.reshape(tiles, -1, frame.shape[-1]))[:, 0]
        places = np.full((tiles, 3), -1, np.int32)
        places[:, 0] = image
        return _Sample(vectors, places)

    def fit(self, indices: Sequence[int], progress: Progress | None = None, *, is_trial: bool = False) -> list[Member]:
        """Banks from the sampled patches of these images; units are 1 until `with_units`.

        `is_trial`: the banks only measure spreads. Banks with a weight in the decision are made as for deployment.
        Banks that only draw the map are made in fewer rounds. No bank has its sources.
        """
        rng = np.random.default_rng(0)
        wanted = np.zeros(len(self._inputs), np.bool_)
        wanted[list(indices)] = True
        members = []
        for number, recipe in enumerate(self._recipe.members):
            which = self._graph.embeddings.index(recipe.embedding)
            sample = self._frames[which] if recipe.is_pooled else self._samples[which]
            inside = wanted[sample.images]
            picked = None
            if recipe.is_pooled:
                bank = build_pooled(sample.vectors[inside])
            elif recipe.is_placed:
                good = self._placed(recipe, indices)
                bank = good.bank(np.ones(len(good.frames), np.bool_))
            else:
                bank, picked = build_covers(sample.vectors[inside], recipe, rng, is_trial=is_trial)
            sources = np.full((len(bank.prototypes), 3), -1, np.int32)
            if picked is not None:
                sources = sample.places[inside][picked]
            members.append(
                Member(
                    which,
                    1 if recipe.is_pooled else self._graph.grid(which),
                    bank,
                    recipe.in_decision,
                    recipe.in_map,
                    score_usual=0.0,
                    score_unit=1.0,
                    map_unit=1.0,
                    sources=sources,
                    top_share=recipe.top_share,
                )
            )
            if progress is not None:
                progress("prototypes", number + 1, len(self._recipe.members))
        return members

    def head(self, members: Sequence[Member]) -> PrototypeHead:
        return self.model(members).open(self._engine)

    def model(self, members: Sequence[Member]) -> PrototypeModel:
        return PrototypeModel(tuple(members), self._readout)

    def measure(self, members: Sequence[Member], indices: Sequence[int], progress: Progress) -> list[RawMaps]:
        """Raw maps of these images, one `RawMaps` each, in order."""
        head = self.head(members)
        found: list[RawMaps] = []
        for start in range(0, len(indices), self._batch):
            batch = indices[start : start + self._batch]
            embedded = self._embedder(np.stack([self._inputs[i] for i in batch]))
            tiles = split_tiles(embedded, self._recipe.preparation)
            maps = [head.measure(number, tiles[member.embedding]) for number, member in enumerate(members)]
            grouped = [each.reshape(len(batch), -1, *each.shape[1:]) for each in maps]  # [B, T, covers, g, g]
            found += [RawMaps(image, [each[row] for each in grouped]) for row, image in enumerate(batch)]
            progress("held-out scores", min(start + self._batch, len(indices)), len(indices))
        return found

    def scores(self, members: Sequence[Member], measured: Sequence[RawMaps]) -> NDArray[np.float64]:
        """Image scores of each member, without its unit, float64 [members, images]. The worst tile counts."""
        highest = [
            [
                max(member.score(self._readout, tile) for tile in maps)
                for member, maps in zip(members, raw.maps, strict=True)
            ]
            for raw in measured
        ]
        return np.array(highest, np.float64).T

    def units(self, members: Sequence[Member], measured: Sequence[RawMaps]) -> list[Member]:
        """The same members with the median and spread of these images' scores, and that of their patch distances."""
        scaled = []
        for number, member in enumerate(members):
            patches = np.concatenate([raw.maps[number] for raw in measured])  # [N * T, covers, g, g]
            scores = np.array([member.score(self._readout, each) for each in patches])
            ordinary = float(np.median(scores))
            scaled.append(
                replace(
                    member,
                    score_usual=ordinary,
                    score_unit=spread_of(scores),
                    map_unit=spread_of(patches),
                )
            )
        return scaled

    def crossed_units(self, members: Sequence[Member], indices: Sequence[int]) -> list[Member]:
        """The same members; those of places and of whole frames get median and spread of cross-fitted scores.

        Such a member has more numbers than a few images can fix, so that its scores fall as images are added: those of
        a trial on fewer images would make the deployed member half deaf. Each image is scored by nine tenths of all.
        """
        found = list(members)
        for number, (member, recipe) in enumerate(zip(members, self._recipe.members, strict=True)):
            if recipe.is_pooled:
                scores = self._crossed_pooled(member.embedding, indices)
            elif recipe.is_placed:
                scores = self._crossed_placed(member, recipe, indices)
            else:
                continue
            found[number] = replace(member, score_usual=float(np.median(scores)), score_unit=spread_of(scores))
        return found

    def _crossed_pooled(self, embedding: int, indices: Sequence[int]) -> NDArray[np.float64]:
        frames = self._frames[embedding]
        scores = []
        for is_left_out in _folds(frames.images, indices):
            is_learnt = np.isin(frames.images, indices) & ~is_left_out
            bank = build_pooled(frames.vectors[is_learnt])
            scores.append(distances_from(bank, frames.vectors[is_left_out]))
        return np.concatenate(scores)

    def _crossed_placed(self, member: Member, recipe: MemberRecipe, indices: Sequence[int]) -> NDArray[np.float64]:
        good = self._placed(recipe, indices)
        scores: list[float] = []
        for is_left_out in _folds(np.arange(len(good.frames)), range(len(good.frames))):
            maps = good.distances(good.bank(~is_left_out), is_left_out)
            scores += [member.score(self._readout, each.reshape(1, 1, -1)) for each in maps]
        return np.array(scores, np.float64)

    def _placed(self, recipe: MemberRecipe, indices: Sequence[int]) -> Placed:
        """What a bank of places learns of these images."""
        whole = self._whole[self._graph.embeddings.index(recipe.embedding)]
        if whole is None:
            raise RuntimeError("A bank of places is fitted before its frames were sampled.")
        return placed(whole.frames[np.isin(whole.images, indices)], recipe.axes)

    @staticmethod
    def with_units(members: Sequence[Member], units_of: Sequence[Member]) -> list[Member]:
        """These members with the units of the others, one by one."""
        return [
            replace(member, score_usual=other.score_usual, score_unit=other.score_unit, map_unit=other.map_unit)
            for member, other in zip(members, units_of, strict=True)
        ]

    def blend(self, members: Sequence[Member], measured: Sequence[RawMaps]) -> list[Judgement]:
        """Judgements by a head of these members, from maps that were measured before."""
        head = self.head(members)
        of_tiles = [head.blend(maps) for raw in measured for maps in zip(*raw.maps, strict=True)]
        return join(of_tiles, self._recipe.preparation)


@dataclass(frozen=True, slots=True)
class RawMaps:
    """One image's maps before they are blended, one float32 [T, covers, g, g] per member, T being its tiles."""

    image: int
    maps: list[NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class _WholeFrames:
    """Frames of one embedding, float16 [N, P, C], and their images, [N]."""

    frames: NDArray[np.float16]
    images: NDArray[np.int64]


def _folds(images: NDArray[np.integer], indices: Sequence[int]) -> list[NDArray[np.bool_]]:
    """Which of `images` are of each fold of `indices`, bool [len(images)] each."""
    return [np.isin(images, left_out) for left_out in np.array_split(np.array(indices), min(FOLDS, len(indices)))]


def spread_of(values: NDArray[np.floating]) -> float:
    """Standard deviation, at least `SMALLEST_UNIT` of the mean."""
    return float(max(values.std(), SMALLEST_UNIT * abs(values.mean()), 1e-6))
