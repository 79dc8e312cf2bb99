"""Chooses the images and patches that become a product's anchors (CAC of Deep Feature Clustering)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inspector.training.statistics.clustering import farthest_first, spherical_kmeans

ANCHOR_IMAGES = 16
ANCHORS = 32


def pick_anchor_images(descriptors: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.int64]:
    """CAC, first half: the indices of about 16 good images that differ most. `descriptors`: [N, C]."""
    return farthest_first(descriptors, ANCHOR_IMAGES, rng)


def build_anchors(patches: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """CAC, second half: unit patches [N, C] of the picked images -> unit anchors [at most 32, C]."""
    return spherical_kmeans(patches, ANCHORS, rng)
