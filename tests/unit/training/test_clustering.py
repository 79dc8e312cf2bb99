"""Covers, centres and partitions of vectors."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from inspector.training.statistics.clustering import farthest_first, first_neighbour_means, spherical_kmeans


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_farthest_first_keeps_the_rare_pattern() -> None:
    rng = np.random.default_rng(0)
    vectors = np.concatenate([rng.normal(0, 0.1, (500, 4)), [[9, 9, 9, 9]]]).astype(np.float32)
    assert 500 in farthest_first(vectors, 3, rng)


def test_farthest_first_equal_vectors_give_one() -> None:
    assert len(farthest_first(np.ones((50, 3), np.float32), 10, np.random.default_rng(0))) == 1


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 5))
def test_farthest_first_picks_are_distinct_and_each_step_covers_better(count: int, asked: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).standard_normal((count, 3)).astype(np.float32)
    picked = farthest_first(vectors, asked, np.random.default_rng(seed))
    assert len(set(picked.tolist())) == len(picked) == min(asked, count)
    radii = [
        np.linalg.norm(vectors[:, None] - vectors[picked[:k]], axis=2).min(axis=1).max()
        for k in range(1, len(picked) + 1)
    ]
    assert all(later <= earlier + 1e-5 for earlier, later in itertools.pairwise(radii))


def test_spherical_kmeans_finds_separate_directions() -> None:
    rng = np.random.default_rng(0)
    axes = np.eye(4, dtype=np.float32)
    vectors = unit(np.repeat(axes, 30, axis=0) + rng.normal(0, 0.05, (120, 4)))
    centres = spherical_kmeans(vectors, 4, rng)
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, atol=1e-5)
    assert ((centres @ axes.T).max(axis=0) > 0.99).all()


def test_first_neighbour_means_merge_until_few_enough() -> None:
    rng = np.random.default_rng(0)
    vectors = unit(np.repeat(np.eye(5), 20, axis=0) + rng.normal(0, 0.05, (100, 5)))
    means = first_neighbour_means(vectors, 10)
    assert 1 <= len(means) <= 10
    np.testing.assert_allclose(np.linalg.norm(means, axis=1), 1, atol=1e-5)
