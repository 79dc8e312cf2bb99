"""Which product a frame shows: category anchors vote (Deep Feature Clustering, KBS 311, 2025, 113134).

[A] Category Anchor Construction clusters pre-trained features of a small subset of good images; in
Category Information Mining the anchors vote; Local Feature Routing sends the frame to its product's own
head. [R] Everything below the abstract is our reconstruction: cut, size, weights, margins, bounds.
Heads' scores are never compared. Adding a product only appends anchors; weights that depend on the
other products are computed here, from the live set, and never stored.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inspector.domain import Route
from inspector.errors import ArtifactError
from inspector.vision.clustering import farthest_first, spherical_kmeans
from inspector.vision.engines import unit_length
from inspector.vision.graphs import Embedding, Graph
from inspector.vision.preprocessing import Pyramid, resize

ROUTING_SIZE_PX = 128
ROUTING_HALVED_FROM = 8
"""Routing copies are halved while they are so many times too large; see `preprocessing.resize`."""
ROUTING_EMBEDDING = Embedding(strides=(8,), grid_stride=8, pool=1)
PROFILE_FILE = Path(__file__).with_name("routing_profile.json")

ANCHOR_IMAGES = 16
ANCHORS = 32
KEPT_SHARE = 0.2
"""Only the best-matching fifth of the patches counts in a distance: a defect over half the part must not make
it unknown, and a foreign part has no patch that matches. Dropping only the worst fifth was measured as well:
left-out products were told apart less well (mean AUROC 0.909 against 0.929 over six) at the same bound."""
NEAREST_POOLED = 1e-4
"""Pooled descriptors are never taken for nearer: rounding must not make one of the anchor images nearer than near."""
SHORTLIST = 16
SMALL_PRODUCT_ROWS = 128
LOW_SHARE = 0.5
"""Below this share of the votes the two best products are compared by distance."""


@dataclass(frozen=True, slots=True)
class RoutingProfile:
    """What all products of a registry share: the pass, and constants of its channels (never per product)."""

    graph: Graph
    mean: NDArray[np.float32]
    spread: NDArray[np.float32]

    @property
    def key(self) -> str:
        """16 hex digits; anchors of another profile can't be compared."""
        # Not the graph's key: a new export of the same pass leaves anchors as they are; probes guard them.
        described = json.dumps(
            {**self.graph.to_manifest(), "halved_from": ROUTING_HALVED_FROM}, sort_keys=True
        ).encode()
        return hashlib.sha256(described + self.mean.tobytes() + self.spread.tobytes()).hexdigest()[:16]

    def patches(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Raw patches [P, C] -> unit patches [P, C]."""
        scaled = raw - self.mean
        scaled /= self.spread
        return unit_length(scaled)


@functools.cache
def routing_profile() -> RoutingProfile:
    """The committed profile; see `benchmarks/routing_profile.py`."""
    stored = json.loads(PROFILE_FILE.read_text(encoding="utf-8"))
    graph = Graph(stored["backbone"], stored["weights_sha256"], stored["size_px"], (ROUTING_EMBEDDING,))
    return RoutingProfile(graph, np.array(stored["mean"], np.float32), np.array(stored["spread"], np.float32))


def routing_copy(frame: NDArray[np.uint8] | Pyramid) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] -> the squashed copy [128, 128, 3] the routing pass sees; exposure untouched."""
    return np.ascontiguousarray(resize(frame, ROUTING_SIZE_PX, ROUTING_SIZE_PX, most=ROUTING_HALVED_FROM))


@dataclass(frozen=True, slots=True)
class ProductAnchors:
    """One product's stored share of the routing.

    `anchors`: float32 [A, C], unit. `descriptors`: float32 [I, C], unit pooled vectors of its anchor
    images, for the shortlist and the distance. `bound`: the distance beyond which a frame is of no known product.
    """

    product: str
    anchors: NDArray[np.float32]
    descriptors: NDArray[np.float32]
    bound: float

    def __post_init__(self) -> None:
        if self.anchors.ndim != 2 or self.descriptors.ndim != 2 or not self.bound > 0:
            raise ArtifactError(f"The anchors of {self.product} can't be read.")

    def distance(self, patches: NDArray[np.float32]) -> float:
        """How far a frame's unit patches [P, C] are from this product; compared with `bound`."""
        return joint_distance(
            trimmed_distance(patches, self.anchors), 1.0 - float((self.descriptors @ pooled(patches)).max())
        )


def pooled(patches: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit patches [..., P, C] -> unit descriptors [..., C]."""
    return unit_length(patches.mean(axis=-2))


def pick_anchor_images(descriptors: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.int64]:
    """CAC, first half: about 16 good images that differ most. `descriptors`: [N, C]."""
    return farthest_first(descriptors, ANCHOR_IMAGES, rng)


def build_anchors(patches: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """CAC, second half: unit patches [N, C] of the picked images -> unit anchors [at most 32, C]."""
    return spherical_kmeans(patches, ANCHORS, rng)


def trimmed_distance(patches: NDArray[np.float32], anchors: NDArray[np.float32]) -> float:
    """Mean over the best-matching fifth of the patches of 1 - cosine to the nearest anchor."""
    return _trimmed_mean(1.0 - (patches @ anchors.T).max(axis=1))


def joint_distance(trimmed: float, of_pooled: float) -> float:
    """Geometric mean of the trimmed distance, twice, and that of the pooled descriptor to the nearest stored one.

    Patches alone take a smooth product for a rough one that has smooth parts too: each patch finds its like, only
    not in these shares. The pooled descriptor sees the shares, and a large defect moves it: so it counts once.
    """
    return float(np.cbrt(trimmed**2 * max(of_pooled, NEAREST_POOLED)))


def _trimmed_mean(distances: NDArray[np.float32]) -> float:
    kept = max(1, round(len(distances) * KEPT_SHARE))
    return float(np.partition(distances, kept - 1)[:kept].mean())


class AnchorIndex:
    """The anchors of all live products, stacked. Immutable; safe on several threads."""

    def __init__(self, products: list[ProductAnchors], shortlist: int = SHORTLIST) -> None:
        self._names = [item.product for item in products]
        self._bounds = np.array([item.bound for item in products], np.float32)
        self._shortlist = shortlist
        if not products:
            return
        per_product = max(len(item.anchors) for item in products)
        self._anchors = np.stack([_repeat_to(item.anchors, per_product) for item in products])  # [M, A, C]
        self._descriptors = np.stack(
            [_repeat_to(item.descriptors, max(len(each.descriptors) for each in products)) for item in products]
        )  # [M, I, C]
        self._weights = _foreign_weights(self._anchors)  # [M, A]

    @property
    def products(self) -> tuple[str, ...]:
        return tuple(self._names)

    def route(self, patches: NDArray[np.float32]) -> Route:
        """CIM: every patch [P, C] votes for its nearest anchor's product, by anchor weight times margin.

        The winner's share is the confidence. A low share is decided by distance. A frame beyond the winner's
        bound but within another's is that product's. `product` is None where the distance exceeds every bound;
        `nearest` always names the one it would have been.
        """
        if not self._names:
            return Route(product=None, confidence=0.0, distance=float("inf"), nearest=None)
        candidates = self._candidates(patches)
        anchors = self._anchors[candidates]  # [m, A, C]
        similarity = _similarity(patches, anchors)  # [m, A, P]
        best = similarity.max(axis=1)  # [m, P]
        shares = _vote(similarity, best, self._weights[candidates])
        winner = _winner(shares, best)
        of_pooled = 1.0 - (self._descriptors[candidates] @ pooled(patches)).max(axis=1)  # [m]

        def reach(m: int) -> float:
            found = joint_distance(_trimmed_mean(1.0 - best[m]), float(of_pooled[m]))
            return found / float(self._bounds[candidates[m]])

        distance = reach(winner)
        if distance > 1.0:
            others = [reach(m) for m in range(len(candidates))]
            winner = int(np.argmin(others)) if min(others) <= 1.0 else winner
            distance = others[winner]
        name = self._names[candidates[winner]]
        known = distance <= 1.0
        return Route(name if known else None, float(shares[winner]), distance, nearest=name)

    def look_alikes(self, product: str) -> list[tuple[str, float]]:
        """Other products by the mean cosine of this product's anchors to their nearest, most alike first."""
        if product not in self._names:
            return []
        own = self._anchors[self._names.index(product)]
        likeness = (own @ self._anchors.reshape(-1, own.shape[1]).T).reshape(len(own), len(self._names), -1)
        means = likeness.max(axis=2).mean(axis=0)
        others = [(name, float(value)) for name, value in zip(self._names, means, strict=True) if name != product]
        return sorted(others, key=lambda pair: -pair[1])

    def _candidates(self, patches: NDArray[np.float32]) -> NDArray[np.int64]:
        """All products, or of very many the 16 nearest by pooled descriptor: the vote stays cheap."""
        if len(self._names) <= self._shortlist:
            return np.arange(len(self._names))
        likeness = (self._descriptors @ pooled(patches)).max(axis=1)  # [M]
        return np.sort(np.argpartition(-likeness, self._shortlist)[: self._shortlist])


def _similarity(patches: NDArray[np.float32], anchors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosines of patches [P, C] to the anchors [m, A, C] of some products, [m, A, P].

    Patches come last, so that what is taken over anchors or products runs along whole rows. In small products, which
    BLAS does on the calling thread: a decode worker must not wait for a second thread on busy cores for a tenth of a
    millisecond's work.
    """
    found = np.empty((*anchors.shape[:2], len(patches)), np.float32)
    for start in range(0, len(patches), SMALL_PRODUCT_ROWS):
        rows = slice(start, start + SMALL_PRODUCT_ROWS)
        np.matmul(anchors, patches[rows].T, out=found[:, :, rows])
    return found


def _vote(
    similarity: NDArray[np.float32], best: NDArray[np.float32], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Share of the votes per product, [m], summing to 1."""
    count, patches = best.shape
    if count == 1:
        return np.ones(1, np.float32)
    first = best.argmax(axis=0)  # [P]
    columns = np.arange(patches)
    two = np.partition(best, count - 2, axis=0)[-2:]
    margins = two[1] - two[0]
    anchors = similarity[first, :, columns].argmax(axis=1)
    votes = np.bincount(first, weights=weights[first, anchors] * margins, minlength=count)
    total = votes.sum()
    return (votes / total if total > 0 else np.full(count, 1.0 / count)).astype(np.float32)


def _winner(shares: NDArray[np.float32], best: NDArray[np.float32]) -> int:
    winner = int(shares.argmax())
    if shares[winner] >= LOW_SHARE or len(shares) == 1:
        return winner
    two = np.argsort(-shares, kind="stable")[:2]
    return int(two[(1.0 - best[two]).sum(axis=1).argmin()])


def _foreign_weights(anchors: NDArray[np.float32]) -> NDArray[np.float32]:
    """w = clip(1 - cosine to the nearest foreign anchor): what products share (background) hardly votes."""
    count, per_product, channels = anchors.shape
    flat = anchors.reshape(-1, channels)
    weights = np.ones((count, per_product), np.float32)
    for index in range(count):
        likeness = (anchors[index] @ flat.T).reshape(per_product, count, per_product).max(axis=2)  # [A, M]
        likeness[:, index] = -1.0
        if count > 1:
            weights[index] = np.clip(1.0 - likeness.max(axis=1), 1e-3, 1.0)
    return weights


def _repeat_to(rows: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Rows repeated to `count`: a repeated anchor changes no nearest distance."""
    return np.ascontiguousarray(np.resize(rows, (count, rows.shape[1])), dtype=np.float32)
