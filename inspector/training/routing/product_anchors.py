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


def anchors_of(product: str, route_patches: Sequence[NDArray[np.floating]]) -> ProductAnchors:
    """The anchors, by CAC on some images, and the bound, from held-out images. `route_patches`: [P, C] each, unit."""
    rng = np.random.default_rng(0)
    patches = [each.astype(np.float32) for each in route_patches]
    descriptors = np.stack([pooled(each) for each in patches])
    is_held = held_out(len(patches))
    own = np.flatnonzero(~is_held)
    picked = own[pick_anchor_images(descriptors[own], rng)]
    anchors = build_anchors(np.concatenate([patches[i] for i in picked]), rng)
    unbounded = ProductAnchors(product, anchors, descriptors[picked], bound=1.0)
    distances = [unbounded.distance(patches[i]) for i in np.flatnonzero(is_held)]
    return replace(unbounded, bound=unknown_bound(distances))


def unknown_bound(distances: Sequence[float]) -> float:
    """The distance beyond which a frame is of no known product, from the distances of held-out good images.

    The bound is at least 2.6 times the median distance. It is wider where few images were held out or where their
    distances spread. Over six products, no good part and under 2 % of the defective parts lie beyond it. All frames of
    five left-out products lie beyond it; the sixth product is mono solar cells, which are taken for poly cells.
    """
    spread = max(distances) * (1.2 + 2.0 / len(distances))
    return max(spread, UNKNOWN_MEDIANS * float(np.median(distances)), 1e-3)
