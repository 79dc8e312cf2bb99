"""The vote of all products' anchors on a frame (CIM of Deep Feature Clustering)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inspector.domain import Route
from inspector.vision.images.resizing import HALVING, Halving
from inspector.vision.routing.anchors import ProductAnchors, joint_distance, pooled, trimmed_mean
from inspector.vision.routing.routing_pass import Seen

SHORTLIST = 16
SMALL_PRODUCT_ROWS = 128
LOW_SHARE = 0.5
"""Where the winner has less than this share of the votes, the two best products are compared by distance."""


Views = Sequence[tuple[NDArray[np.bool_], NDArray[np.float32]]]
"""Masks of products, and the unit patches [P, C] of a frame as these products see it. Each product is in one mask."""


class AnchorIndex:
    """The anchors of all live products, stacked. Immutable; safe on several threads.

    `halvings`: how the frames of each product are halved, in the order of `products`; as for new versions if not given.
    """

    def __init__(
        self,
        products: list[ProductAnchors],
        shortlist: int = SHORTLIST,
        *,
        halvings: Sequence[Halving] | None = None,
    ) -> None:
        self._names = [item.product for item in products]
        kinds = np.array(halvings or [HALVING] * len(products), np.str_)
        self._of_halving: dict[Halving, NDArray[np.bool_]] = {
            halving: kinds == halving for halving in dict.fromkeys(halvings or [HALVING])
        }
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

    @property
    def halvings(self) -> tuple[Halving, ...]:
        """How the frames of some product are halved: a routing copy of each is needed."""
        return tuple(self._of_halving)

    def route(self, seen: NDArray[np.float32] | Seen) -> Route:
        """CIM: every patch [P, C] votes for the product of its nearest anchor, with the anchor's weight times margin.

        The winner's share of the votes is the confidence. Where this share is low, the distance decides. A frame beyond
        the winner's bound but within another product's bound goes to that product. `product` is None where the frame is
        beyond every bound; `nearest` names the winner even then.

        `seen`: the patches by halving, or patches that are the same for all products.
        """
        if not self._names:
            return Route(product=None, confidence=0.0, distance=float("inf"), nearest=None)
        views = [
            (mask, seen if isinstance(seen, np.ndarray) else seen[halving])
            for halving, mask in self._of_halving.items()
        ]
        likeness = self._likeness(views)
        candidates = self._candidates(likeness)
        anchors = self._anchors[candidates]  # [m, A, C]
        similarity = _similarity([(mask[candidates], patches) for mask, patches in views], anchors)  # [m, A, P]
        best = similarity.max(axis=1)  # [m, P]
        shares = _vote(similarity, best, self._weights[candidates])
        winner = _winner(shares, best)
        of_pooled = 1.0 - likeness[candidates]

        def reach(m: int) -> float:
            found = joint_distance(trimmed_mean(1.0 - best[m]), float(of_pooled[m]))
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
        """The other products, most alike first, each with the mean cosine of this product's anchors to its nearest."""
        if product not in self._names:
            return []
        own = self._anchors[self._names.index(product)]
        likeness = (own @ self._anchors.reshape(-1, own.shape[1]).T).reshape(len(own), len(self._names), -1)
        means = likeness.max(axis=2).mean(axis=0)
        others = [(name, float(value)) for name, value in zip(self._names, means, strict=True) if name != product]
        return sorted(others, key=lambda pair: -pair[1])

    def _likeness(self, views: Views) -> NDArray[np.float32]:
        """Cosine of the frame's pooled descriptor to the nearest one of each product, [M]."""
        found = np.empty(len(self._names), np.float32)
        for mask, patches in views:
            own = self._descriptors if mask.all() else self._descriptors[mask]
            found[mask] = (own @ pooled(patches)).max(axis=1)
        return found

    def _candidates(self, likeness: NDArray[np.float32]) -> NDArray[np.int64]:
        """The products that take part in the vote: all, or with more than 16 the 16 nearest by pooled descriptor."""
        if len(self._names) <= self._shortlist:
            return np.arange(len(self._names))
        return np.sort(np.argpartition(-likeness, self._shortlist)[: self._shortlist])


def _similarity(views: Views, anchors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosines of a frame's patches [P, C] to the anchors [m, A, C] of some products, [m, A, P].

    Patches are the last axis, so that reductions over anchors or products run along whole rows. The matrix product is
    computed in small blocks, which BLAS computes on the calling thread. On busy cores a decode worker must not wait for
    a second thread for work of a tenth of a millisecond.
    """
    found = np.empty((*anchors.shape[:2], len(views[0][1])), np.float32)
    for mask, patches in views:
        for start in range(0, len(patches), SMALL_PRODUCT_ROWS):
            rows = slice(start, start + SMALL_PRODUCT_ROWS)
            if mask.all():
                np.matmul(anchors, patches[rows].T, out=found[:, :, rows])
            else:
                found[mask, :, rows] = anchors[mask] @ patches[rows].T
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
    """w = clip(1 - cosine to the nearest foreign anchor): anchors of what products share (background) hardly count."""
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
    """Rows, repeated until there are `count` of them. A repeated anchor changes no nearest distance."""
    return np.ascontiguousarray(np.resize(rows, (count, rows.shape[1])), dtype=np.float32)
