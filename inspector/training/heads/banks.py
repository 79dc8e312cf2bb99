"""Builds the banks of a prototype head from sampled patches: whitening, clustering, covers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from inspector.errors import UsageError
from inspector.training.statistics.clustering import (
    farthest_first,
    first_neighbour_means,
    kmeans,
    nearest_to,
    spherical_kmeans,
)
from inspector.vision.engines.protocols import Bank, unit_length
from inspector.vision.networks.graphs import Embedding

Clustering = Literal["farthest-first", "kmeans", "spherical-kmeans", "first-neighbour"]
MEANS: tuple[Clustering, ...] = ("spherical-kmeans", "first-neighbour")
"""Clusterings of unit vectors to their means; ProtoAD's own code for it was never published."""

WHITENING_FLOOR = 0.01
"""Share of the mean variance that is added to each variance: directions in which good images hardly vary are noise."""
SHRINKAGE = 0.05
"""Weight of uncorrelated channels in the correlations of pooled frames."""
PLACE_SHRINKAGE = 0.1
"""Weight of the spread over all places in the spread of each place: a few frames may agree at a place by chance."""
SMALLEST_PLACE_SPREAD = 0.01
"""Lower bound for the spread at a place, in units of the channels' spread: what is less is the rounding of frames."""
SMALLEST_SPREAD = 0.002
"""Lower bound for the spread of a pooled channel, as a share of its mean: a few frames may agree by chance."""
SPHERICAL_ROUNDS = 20
ROUNDS = 4
TRIAL_ROUNDS = 1
"""Rounds of moving centres in a trial. One round suffices for the spread of a map's distances; the map itself improves
for up to four rounds."""
FIRST_NEIGHBOUR_PATCHES = 10_000
"""Largest number of patches to compare in all pairs: ten thousand take seconds, forty thousand take minutes."""


@dataclass(frozen=True, slots=True)
class MemberRecipe:
    """One member over one embedding: `covers` banks of `prototypes` each, begun at different patches. `whiten`: the
    channels are decorrelated before they are compared. `is_pooled`: the bank is one point, the mean of the pooled good
    frames, and distance from it is measured in their spread. `is_placed`: the bank has a point and a spread for each
    place of the frame (`Bank.scales`), on `axes` axes of all strengths. `top_share`: see
    `vision.heads.prototype.Member`. `rounds`: the largest number of rounds of the k-means. `axes`: the number of
    principal axes on which the vectors are compared, None for all; the strongest ones, but for a bank of places.
    """

    embedding: Embedding
    prototypes: int
    whiten: bool = False
    unit_length: bool = False
    in_decision: float = 0.0
    in_map: float = 0.0
    clustering: Clustering = "farthest-first"
    covers: int = 1
    is_pooled: bool = False
    is_placed: bool = False
    top_share: float | None = None
    rounds: int | None = None
    axes: int | None = None


def build_pooled(frames: NDArray[np.float32]) -> Bank:
    """The mean of pooled good frames [N, D], with the axes that measure the distance from it (Mahalanobis).

    The channels' correlations are shrunk towards none, so that a few frames suffice: the inverse exists for any number.
    """
    frames = frames.astype(np.float64)
    mean, spread = frames.mean(axis=0), frames.std(axis=0)
    spread = np.maximum(spread, SMALLEST_SPREAD * np.abs(mean) + 1e-6)
    scaled = (frames - mean) / spread
    correlation = (1 - SHRINKAGE) * scaled.T @ scaled / len(frames) + SHRINKAGE * np.eye(len(mean))
    variances, axes = np.linalg.eigh(correlation)
    projection = axes / np.sqrt(variances) / spread[:, None]
    centre = np.zeros((1, len(mean)), np.float32)
    projection = np.ascontiguousarray(projection, dtype=np.float32)
    return Bank(mean.astype(np.float32), projection, centre, is_pooled=True)


def distances_from(bank: Bank, frames: NDArray[np.float32]) -> NDArray[np.float64]:
    """Distances of pooled frames [N, D] from the bank of `build_pooled`, float64 [N]."""
    centred = frames.astype(np.float64) - bank.mean
    return np.asarray(np.linalg.norm(centred if bank.projection is None else centred @ bank.projection, axis=1))


@dataclass(frozen=True, slots=True)
class Placed:
    """Good frames on the axes of a bank of places. `mean`: float32 [C]; `projection`: [C, D]; `frames`: [N, P, D]."""

    mean: NDArray[np.float32]
    projection: NDArray[np.float32]
    frames: NDArray[np.float32]

    def bank(self, which: NDArray[np.bool_]) -> Bank:
        """The bank of some of the frames, bool [N]: the mean at each place, and the spread from it.

        [A] PaDiM (Defard et al., 2021, arXiv 2011.08785) has a normal distribution for each place. [R] The axes are the
        same for all places, and correlations on them are left out, so that few frames suffice.
        """
        frames = self.frames[which]
        centres = frames.mean(axis=0)
        variances = np.square(frames - centres).mean(axis=0)
        shrunk = (1 - PLACE_SHRINKAGE) * variances + PLACE_SHRINKAGE * variances.mean(axis=0)
        scales = (1.0 / np.sqrt(np.maximum(shrunk, SMALLEST_PLACE_SPREAD**2))).astype(np.float32)
        return Bank(self.mean, self.projection, np.ascontiguousarray(centres * scales, np.float32), scales=scales)

    def distances(self, bank: Bank, which: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Distances of the patches of some frames, bool [N], from their places in a bank, float32 [n, P]."""
        if bank.scales is None:
            raise ValueError("Patches have no places in this bank.")
        apart = self.frames[which] * bank.scales - bank.prototypes
        return np.asarray(np.sqrt(np.einsum("npd,npd->np", apart, apart)), np.float32)


def placed(frames: NDArray[np.floating], count: int | None) -> Placed:
    """Good frames [N, P, C] on `count` axes, None for all.

    Axes are the principal ones of what frames differ in at a place, with channels in units of their spread. Those kept
    are spaced evenly from the weakest to the strongest: weak ones see fine textures, strong ones large changes.
    """
    places = frames.mean(axis=0, dtype=np.float32)
    mean = places.mean(axis=0)
    products = np.zeros((places.shape[1],) * 2)
    for frame in frames:
        apart = frame.astype(np.float32) - places
        products += apart.T @ apart
    products /= frames.shape[0] * frames.shape[1]
    spread = np.maximum(np.sqrt(np.diag(products)), SMALLEST_SPREAD * np.abs(mean) + 1e-6)
    axes = np.linalg.eigh(products / np.outer(spread, spread))[1] / spread[:, None]
    kept = np.linspace(0, len(mean) - 1, min(count or len(mean), len(mean))).round().astype(np.int64)
    projection = np.ascontiguousarray(axes[:, kept], dtype=np.float32)
    return Placed(mean, projection, np.stack([(frame.astype(np.float32) - mean) @ projection for frame in frames]))


def build_covers(
    vectors: NDArray[np.float32], recipe: MemberRecipe, rng: np.random.Generator, *, is_trial: bool = False
) -> tuple[Bank, NDArray[np.int64] | None]:
    """The banks of `build_bank`, as many as the recipe has covers, each begun at another patch, as one bank."""
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
    """Prototypes of sampled patches [N, C], and the patches that they are or are nearest to, None where unknown.

    `is_trial`: the bank only measures spreads; see `prototype.PrototypeFitter.fit`.
    """
    mean = np.zeros(vectors.shape[1], np.float32) if recipe.unit_length else vectors.mean(axis=0)
    projection = _projection(vectors - mean, recipe)
    projected = vectors - mean if projection is None else (vectors - mean) @ projection
    if recipe.unit_length:
        projected = unit_length(projected)
    if recipe.clustering == "farthest-first":
        picked = farthest_first(projected, recipe.prototypes, rng)
        return Bank(mean, projection, np.ascontiguousarray(projected[picked]), recipe.unit_length), picked
    if recipe.clustering == "kmeans":
        rounds = TRIAL_ROUNDS if is_trial and not recipe.in_decision else recipe.rounds or ROUNDS
        centres = kmeans(projected, recipe.prototypes, rng, rounds)
        nearest = None if is_trial else nearest_to(centres, projected)
        return Bank(mean, projection, centres, recipe.unit_length), nearest
    if not recipe.unit_length:
        raise UsageError(f"The clustering {recipe.clustering} needs vectors of unit length.")
    if recipe.clustering == "spherical-kmeans":
        means = spherical_kmeans(projected, recipe.prototypes, rng, recipe.rounds or SPHERICAL_ROUNDS)
    else:
        # Drawn at random, because the sample is in the order of the images and all images must take part.
        some = rng.permutation(len(projected))[:FIRST_NEIGHBOUR_PATCHES]
        means = first_neighbour_means(projected[np.sort(some)], recipe.prototypes)
    return Bank(mean, projection, means, unit_length=True), None


def _projection(centred: NDArray[np.float32], recipe: MemberRecipe) -> NDArray[np.float32] | None:
    """Float32 [C, D], the axes on which the recipe compares centred vectors; None for the channels themselves."""
    count = min(recipe.axes or centred.shape[1], centred.shape[1])
    if not recipe.whiten and count == centred.shape[1]:
        return None
    axes = _whitening(centred) if recipe.whiten else np.linalg.eigh(centred.T @ centred)[1]
    return np.ascontiguousarray(axes[:, -count:], dtype=np.float32)  # in the order of rising variances


def _whitening(centred: NDArray[np.float32]) -> NDArray[np.float32]:
    """Float32 [C, C]: rotates to the principal axes and divides by their spread."""
    variances, axes = np.linalg.eigh(np.cov(centred.T))
    scale = 1.0 / np.sqrt(variances + WHITENING_FLOOR * variances.mean())
    return np.ascontiguousarray(axes * scale, dtype=np.float32)
