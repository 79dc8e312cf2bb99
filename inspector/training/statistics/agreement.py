"""Measures how well discovered categories agree with known labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inspector.training.statistics.ranking import Floats


def purity(labels: NDArray[np.integer], categories: NDArray[np.integer]) -> float:
    """Share of images that have the most frequent label of their category. Labels and categories count from 0."""
    return float(_contingency(labels, categories).max(axis=0).sum() / len(labels))


def normalised_mutual_information(labels: NDArray[np.integer], categories: NDArray[np.integer]) -> float:
    """Mutual information divided by the arithmetic mean of both entropies; 1 where both have a single group."""
    joint = _contingency(labels, categories) / len(labels)
    own, found = joint.sum(axis=1), joint.sum(axis=0)
    mean_entropy = (_entropy(own) + _entropy(found)) / 2.0
    if mean_entropy == 0.0:
        return 1.0
    return float((_entropy(own) + _entropy(found) - _entropy(joint.ravel())) / mean_entropy)


def _contingency(labels: NDArray[np.integer], categories: NDArray[np.integer]) -> Floats:
    """Number of images of each label (rows) in each category (columns)."""
    counts = np.zeros((int(labels.max()) + 1, int(categories.max()) + 1))
    np.add.at(counts, (labels, categories), 1.0)
    return counts


def _entropy(shares: Floats) -> float:
    """Entropy in nats."""
    present = shares[shares > 0]
    return float(-(present * np.log(present)).sum())
