"""Makes a product's part of the routing from its good images: its anchors and the bound for unknown frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inspector.training.dataset.splitting import held_out
from inspector.training.routing.anchor_picking import build_anchors, pick_anchor_images
from inspector.vision.routing.anchors import ProductAnchors, pooled

UNKNOWN_MEDIANS = 2.6
MOST_MEDIANS = 4.0
"""The margin above the largest held-out distance ends here, because such a distance is usually of one odd picture.
Cookie has one among 31. With the whole margin it took 81 frames of left-out products and 45 of 48 covered sheets of
paper."""
ODD_MARGIN = 1.05
"""An odd picture lies within the bound all the same: a person enrolled it as good."""


def anchors_of(product: str, route_patches: Sequence[NDArray[np.floating]]) -> ProductAnchors:
    """The anchors, by CAC on some images, and the bound, from held-out images. `route_patches`: [P, C] each, unit."""
    unbounded, distances = unbounded_anchors(product, route_patches)
    return replace(unbounded, bound=unknown_bound(distances))


def unbounded_anchors(
    product: str, route_patches: Sequence[NDArray[np.floating]]
) -> tuple[ProductAnchors, list[float]]:
    """The anchors with a bound of 1, and the distances of the held-out images that a bound is made from."""
    rng = np.random.default_rng(0)
    patches = [each.astype(np.float32) for each in route_patches]
    descriptors = np.stack([pooled(each) for each in patches])
    is_held = held_out(len(patches))
    own = np.flatnonzero(~is_held)
    picked = own[pick_anchor_images(descriptors[own], rng)]
    anchors = build_anchors(np.concatenate([patches[i] for i in picked]), rng)
    unbounded = ProductAnchors(product, anchors, descriptors[picked], bound=1.0)
    return unbounded, [unbounded.distance(patches[i]) for i in np.flatnonzero(is_held)]


def unknown_bound(
    distances: Sequence[float], least_medians: float = UNKNOWN_MEDIANS, most_medians: float = MOST_MEDIANS
) -> float:
    """The distance beyond which a frame is of no known product, from the distances of held-out good images.

    The bound is at least `least_medians` times the median distance. It is wider where few images were held out or where
    their distances spread, by a margin that ends at `most_medians`. Figures: `python -m benchmarks.routing_products`.
    """
    usual, largest = float(np.median(distances)), max(distances)
    with_margin = largest * (1.2 + 2.0 / len(distances))
    return max(min(with_margin, max(most_medians * usual, ODD_MARGIN * largest)), least_medians * usual, 1e-3)
