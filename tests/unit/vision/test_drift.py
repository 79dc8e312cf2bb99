"""Drift: parts like the good images are none, parts that changed are, and what is likely to blame is named."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from inspector.domain import FrameFault
from inspector.vision.artifacts.drift import (
    BINS,
    LEAST_PARTS,
    Accepted,
    Direction,
    Reference,
    chance_bounds,
    compare,
    distance_of,
)


def manifest_of(levels: np.ndarray) -> dict[str, object]:
    """A manifest whose held-out scores have these levels: median 2, threshold 4."""
    calibration = {
        "threshold": 4.0,
        "median": 2.0,
        "kind": "certified",
        "provisional": False,
        "n": len(levels),
        "held_out": "these",
        "alpha": 0.01,
        "confidence": 0.95,
        "rule": "a rule",
        "false_reject_bound": 0.05,
        "false_reject_interval": None,
        "expected_false_reject": None,
        "statement": "fine",
    }
    return {"calibration": calibration, "evidence": {"held_out_scores": [float(2.0 + 2.0 * level) for level in levels]}}


def usual(count: int, seed: int, *, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 0.25, count) * scale + shift


def accepted(levels: np.ndarray, camera: str = "cam1", **faults: int) -> Accepted:
    bins = Counter(math.floor(level * BINS) for level in levels if level <= 1)
    return Accepted(camera, dict(bins), 0, {FrameFault(name): number for name, number in faults.items()})


@pytest.fixture
def reference() -> Reference:
    found = Reference.of(manifest_of(usual(60, 1)))
    assert found is not None
    return found


def test_reference_of_few_or_equal_scores_or_of_no_calibration_is_none() -> None:
    assert Reference.of(manifest_of(usual(9, 1))) is None
    assert Reference.of(manifest_of(np.full(30, 0.5))) is None
    assert Reference.of({"evidence": {"held_out_scores": [1.0] * 30}}) is None


def test_reference_mark_has_a_tenth_of_the_scores_above_it(reference: Reference) -> None:
    assert (len(reference.levels), reference.above) == (60, 6)
    assert sum(level > reference.mark for level in reference.levels) == 6
    assert reference.low < 0.1 < reference.high


@pytest.mark.parametrize("seed", range(2, 12))
def test_parts_like_the_good_images_do_not_drift(reference: Reference, seed: int) -> None:
    (found,) = compare(reference, [accepted(usual(2000, seed))])
    assert not found.is_found, found.statement


@pytest.mark.parametrize(
    ("changes", "direction"),
    [({"shift": 0.3}, Direction.UP), ({"shift": -0.4}, Direction.DOWN), ({"scale": 0.1}, Direction.SHAPE)],
)
def test_parts_that_changed_drift_in_their_direction(
    reference: Reference, changes: dict[str, float], direction: Direction
) -> None:
    (found,) = compare(reference, [accepted(usual(2000, 3, **changes))])
    assert found.direction is direction
    assert "was not moved" in found.statement


def test_few_parts_are_not_compared(reference: Reference) -> None:
    assert compare(reference, [accepted(usual(LEAST_PARTS - 1, 2, shift=0.5))]) == []


def test_cause_is_the_frame_health_of_the_camera_before_all_else(reference: Reference) -> None:
    (found,) = compare(reference, [accepted(usual(2000, 3, shift=0.3), dark=40, blurred=3)])
    assert "40 dark frames" in found.cause


def test_cause_with_several_cameras_is_the_camera_or_the_parts(reference: Reference) -> None:
    shifted, like = usual(2000, 3, shift=0.3), usual(2000, 4)
    one, other = compare(reference, [accepted(shifted), accepted(like, "cam2")])
    assert "only some of 2 cameras" in one.cause
    assert (other.is_found, other.cause) == (False, "")
    both = compare(reference, [accepted(shifted), accepted(shifted, "cam2")])
    assert all("parts or their material" in each.cause for each in both)
    (alone,) = compare(reference, [accepted(shifted)])
    assert "no other camera" in alone.cause


def test_chance_bounds_hold_for_what_chance_makes() -> None:
    rng = np.random.default_rng(7)
    for n in (200, 5000, 20_000):
        least, most = chance_bounds(n, 0.05, 0.2)
        assert least < 0.05 * n < 0.2 * n < most
        assert (rng.binomial(n, 0.05, 2000) >= least).mean() > 0.99
        assert (rng.binomial(n, 0.2, 2000) <= most).mean() > 0.99
    exact, normal = chance_bounds(5000, 0.05, 0.2), chance_bounds(5001, 0.05, 0.2)
    assert all(abs(one - other) <= 5 for one, other in zip(exact, normal, strict=True))


def test_distance_of_equal_and_of_apart_distributions() -> None:
    levels = [0.01, 0.21, 0.41, 0.61]
    bins = {math.floor(level * BINS): 10 for level in levels}
    assert distance_of(levels, bins) == 0.0
    assert distance_of(levels, {BINS: 5}) == 1.0
