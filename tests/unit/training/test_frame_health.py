"""The health checks that good images carry: claimed where faults are named rightly, and only there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from inspector.domain import FrameFault
from inspector.evaluation.layouts import read_layout
from inspector.stream.decode import DecodeLimits, decode
from inspector.training.health.calibrating import FEWEST_IMAGES, NAMED_RIGHTLY, calibrated
from inspector.training.health.faults import COVERED_SHARE, make_faulty
from inspector.vision.health.checks import CHECKED
from inspector.vision.images.preparation import Preparation
from inspector.vision.routing.profile import routing_copy
from tests.unit.drawings import scene

TRAIN, TEST = 40, 12


def copies(count: int) -> list[NDArray[np.uint8]]:
    return [routing_copy(scene(seed)) for seed in range(count)]


def test_calibrated_with_few_images_makes_no_check_and_says_so() -> None:
    found = calibrated(copies(FEWEST_IMAGES - 1), Preparation())
    assert not found.checks
    assert set(found.refused) == set(CHECKED)
    assert all("29 were given" in reason for reason in found.refused.values())
    assert found.find(routing_copy(np.zeros((96, 96, 3), np.uint8))) is None


def test_calibrated_claims_what_the_images_carry_with_no_good_image_beyond_a_limit() -> None:
    found = calibrated(copies(40), Preparation())
    assert set(found.checks) == set(CHECKED)
    for check in found.checks.values():
        assert check.largest_good < check.limit
        assert check.named >= NAMED_RIGHTLY


def test_calibrated_is_the_same_for_the_same_images() -> None:
    one, two = (calibrated(copies(32), Preparation()) for _ in range(2))
    assert one.to_manifest() == two.to_manifest()
    for name, array in one.tensors().items():
        np.testing.assert_array_equal(array, two.tensors()[name])


def test_calibrated_claims_no_shift_of_a_texture_and_no_darkness_where_the_light_varies() -> None:
    rng = np.random.default_rng(4)
    noise = [routing_copy(rng.integers(60, 180, (96, 96, 3), np.uint8)) for _ in range(40)]
    found = calibrated(noise, Preparation())
    assert FrameFault.MOVED not in found.checks
    assert FrameFault.MOVED in found.refused
    lit = [np.asarray(copy * rng.uniform(0.15, 1.0), np.uint8) for copy in copies(60)]
    assert FrameFault.DARK not in calibrated(lit, Preparation()).checks


def test_calibrated_looks_only_at_the_region_of_interest() -> None:
    half = Preparation(roi=(0.5, 0.0, 0.5, 1.0))
    found = calibrated(copies(40), half)
    assert FrameFault.COVERED in found.checks
    for left, expected in ((0, None), (48, FrameFault.COVERED)):
        hidden = scene(90)
        hidden[:, left : left + 48] = (150, 150, 150)
        seen = found.find(routing_copy(hidden))
        assert (seen.fault if seen else None) is expected


def test_make_faulty_covers_the_share_that_it_says_and_leaves_its_argument() -> None:
    rng = np.random.default_rng(0)
    for shape in ((128, 128), (90, 240)):
        plain = np.full((*shape, 3), 128, np.uint8)
        before = plain.copy()
        shares = [(make_faulty(FrameFault.COVERED, plain, rng) != plain).any(axis=2).mean() for _ in range(20)]
        assert np.median(shares) == pytest.approx(COVERED_SHARE, abs=0.02)
        np.testing.assert_array_equal(plain, before)


def test_checks_of_every_real_product_name_their_faults_and_raise_no_false_alarm(inspector_data: Path) -> None:
    """A few images of each product; `python -m benchmarks.frame_health` measures all of them."""
    alarms, claims = [], 0
    for product in read_layout(inspector_data):
        chosen = np.unique(np.linspace(0, len(product.train) - 1, TRAIN).round().astype(int))
        learnt = [routing_copy(decode(product.train[index].read_bytes(), DecodeLimits())) for index in chosen]
        found = calibrated(learnt, Preparation())
        claims += len(found.checks)
        good = [image.path for image in product.test if image.defect is None][:TEST]
        frames = [decode(path.read_bytes(), DecodeLimits()) for path in good]
        alarms += [(product.name, seen.fault) for each in frames if (seen := found.find(routing_copy(each)))]
        rng = np.random.default_rng(11)
        for fault in found.checks:
            named = [found.find(routing_copy(make_faulty(fault, each, rng))) for each in frames]
            right = sum(seen is not None and seen.fault is fault for seen in named)
            assert right >= 0.95 * len(frames), f"{fault} of {product.name}: {right} of {len(frames)}"
    assert len(alarms) <= 3, alarms
    assert claims >= 24, "most products carry dark, bright and blurred"
