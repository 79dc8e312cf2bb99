"""Picking and clustering vectors: farthest-first cover, k-means, first-neighbour partition, mean linkage.

Plain NumPy, deterministic for a given generator. Vectors are float32 [N, C].
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

SKETCH_CHANNELS = 64
"""Channels of the random sketch in which wide vectors are compared while a cover is picked. The sketch keeps distances
to about 10 % (Johnson and Lindenstrauss, 1984), and picking a bank takes a fifth of the time."""


BEGUN_FROM = 10_000
"""The first centres are picked from this many vectors. A cover of all vectors would take longer than k-means itself."""


def farthest_first(vectors: Vectors, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices of at most `count` vectors, each the farthest from the vectors picked before it (Gonzalez, 1985).

    Such a cover keeps even very rare good patterns, which means average away and random picks miss. Picking stops early
    when every vector equals a picked vector.
    """
    if vectors.shape[1] > 2 * SKETCH_CHANNELS:
        sketch = rng.standard_normal((vectors.shape[1], SKETCH_CHANNELS), np.float32)
        vectors = vectors @ (sketch / np.float32(np.sqrt(SKETCH_CHANNELS)))
    squares = np.einsum("nc,nc->n", vectors, vectors)
    picked = [int(rng.integers(len(vectors)))]
    nearest = np.full(len(vectors), np.inf, np.float32)
    while True:
        last = picked[-1]
        # einsum rather than a matrix product: as fast, and it never waits for a second thread on busy cores.
        distance = squares + squares[last] - 2.0 * np.einsum("nc,c->n", vectors, vectors[last])
        np.minimum(nearest, distance, out=nearest)
        nearest[last] = 0.0
        following = int(nearest.argmax())
        if len(picked) == min(count, len(vectors)) or nearest[following] <= 1e-9 * max(1.0, float(squares[following])):
            return np.array(picked, np.int64)
        picked.append(following)


def kmeans(vectors: Vectors, count: int, rng: np.random.Generator, rounds: int = 4) -> Vectors:
    """At most `count` centres by Euclidean distance, float32 [K, C].

    The first centres are picked farthest-first, so that a rare pattern keeps a centre of its own.
    """
    begun = vectors
    if len(vectors) > BEGUN_FROM:
        begun = vectors[rng.choice(len(vectors), BEGUN_FROM, replace=False)]
    centres = begun[farthest_first(begun, count, rng)].copy()
    labels = np.full(len(vectors), -1, np.int64)
    for _ in range(rounds):
        found = nearest_to(vectors, centres)
        if np.array_equal(found, labels):
            break
        labels = found
        counts = np.bincount(labels, minlength=len(centres))[:, None]
        # A centre that lost its members stays where it was.
        centres = np.where(counts, _sums(vectors, labels, len(centres)) / np.maximum(counts, 1), centres)
        centres = centres.astype(np.float32)
    return centres


def nearest_to(vectors: Vectors, centres: Vectors, block: int = 1024) -> NDArray[np.int64]:
    """The index of the centre nearest to each vector, int64 [N]. Computed in blocks, so that memory stays small."""
    half_squares = 0.5 * np.einsum("kc,kc->k", centres, centres)
    found = np.empty(len(vectors), np.int64)
    for start in range(0, len(vectors), block):
        rows = slice(start, start + block)
        found[rows] = (vectors[rows] @ centres.T - half_squares).argmax(axis=1)
    return found


def spherical_kmeans(vectors: Vectors, count: int, rng: np.random.Generator, rounds: int = 20) -> Vectors:
    """At most `count` unit centres of unit vectors by cosine, float32 [K, C]. They begin farthest-first."""
    centres = vectors[farthest_first(vectors, count, rng)].copy()
    labels = np.full(len(vectors), -1, np.int64)
    for _ in range(rounds):
        found = (vectors @ centres.T).argmax(axis=1)
        if np.array_equal(found, labels):
            break
        labels = found
        sums = _sums(vectors, labels, len(centres))
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        # A centre that lost its members stays where it was.
        centres = np.where(lengths > 1e-9, sums / np.maximum(lengths, 1e-9), centres).astype(np.float32)
    return centres


def _sums(vectors: Vectors, labels: NDArray[np.int64], count: int) -> Vectors:
    """Sum of the vectors of each label, float32 [count, C]. The sum is zero for a label without vectors."""
    order = np.argsort(labels, kind="stable")
    present, starts = np.unique(labels[order], return_index=True)
    sums = np.zeros((count, vectors.shape[1]), np.float32)
    sums[present] = np.add.reduceat(vectors[order], starts, axis=0)
    return sums


def first_neighbour_means(vectors: Vectors, at_most: int) -> Vectors:
    """Unit means of the finest first-neighbour partition with at most `at_most` clusters. float32 [K, C].

    Written from the published description of clustering by first neighbours: each vector is linked to its
    nearest vector by cosine, connected vectors are one cluster, and the means are clustered again. Which partition
    ProtoAD used is unknown [R].
    """
    labels = np.arange(len(vectors))
    means = vectors
    while len(means) > at_most and len(means) > 1:
        merged = _connected(_nearest_other(means))
        if merged.max() + 1 == len(means):
            break
        labels = merged[labels]
        means = _unit_means(vectors, labels)
    return means


def mean_linkage(vectors: Vectors, within: float) -> NDArray[np.int64]:
    """Labels 0.. of unit vectors, joined while the mean cosine distance between two groups is at most `within`.

    Agglomeration by average linkage (Sokal and Michener, 1958) along chains of nearest neighbours, which
    finds the same tree as joining the closest pair first (Murtagh, 1983). The mean cosine between two
    groups of unit vectors is the product of their means, so only means are kept: memory O(N), time O(N^2).
    """
    means = vectors.astype(np.float32, copy=True)
    sizes = np.ones(len(vectors), np.float32)
    alive = np.ones(len(vectors), np.bool_)
    # A group is joined only with a group when each is the other's nearest. A group whose nearest is too far is final:
    # by average linkage no later union of other groups comes nearer than the groups in it were.
    labels = np.arange(len(vectors))
    chain: list[int] = []
    waiting = list(range(len(vectors) - 1, -1, -1))
    while waiting or chain:
        if not chain:
            following = waiting.pop()
            if not alive[following]:
                continue
            chain.append(following)
        last = chain[-1]
        similarity = np.einsum("nc,c->n", means, means[last])
        similarity[~alive] = -np.inf
        similarity[last] = -np.inf
        nearest = int(similarity.argmax())
        before = chain[-2] if len(chain) > 1 else -1
        if before >= 0 and similarity[before] >= similarity[nearest]:
            nearest = before
        if 1.0 - similarity[nearest] > within:
            chain.clear()  # steps of a chain get shorter, so no group in it has a nearer group
            continue
        if nearest != before:
            chain.append(nearest)
            continue
        del chain[-2:]
        total = sizes[last] + sizes[nearest]
        means[nearest] = (sizes[last] * means[last] + sizes[nearest] * means[nearest]) / total
        sizes[nearest], alive[last] = total, False
        labels[labels == last] = nearest
        waiting.append(nearest)
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def _nearest_other(vectors: Vectors, block: int = 2048) -> NDArray[np.int64]:
    nearest = np.empty(len(vectors), np.int64)
    for start in range(0, len(vectors), block):
        rows = np.arange(start, min(start + block, len(vectors)))
        similarity = vectors[rows] @ vectors.T
        similarity[np.arange(len(rows)), rows] = -np.inf
        nearest[rows] = similarity.argmax(axis=1)
    return nearest


def _connected(links: NDArray[np.int64]) -> NDArray[np.int64]:
    """Cluster number of each node of the undirected graph i -- links[i]."""
    root = np.arange(len(links))
    while True:
        lower = np.minimum(root, root[links])
        np.minimum.at(lower, links, root)
        lower = lower[lower]
        if np.array_equal(lower, root):
            return np.unique(root, return_inverse=True)[1].astype(np.int64)
        root = lower


def _unit_means(vectors: Vectors, labels: NDArray[np.int64]) -> Vectors:
    sums = _sums(vectors, labels, int(labels.max()) + 1)
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12), np.float32)
