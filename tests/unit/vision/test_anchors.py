"""Anchors vote for the product, and a stranger is called one."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from inspector.errors import ArtifactError
from inspector.training.routing.anchor_picking import build_anchors
from inspector.vision.routing.anchors import ProductAnchors, joint_distance, pooled, trimmed_distance
from inspector.vision.routing.index import AnchorIndex
from inspector.vision.routing.profile import routing_profile


def around(axis: int, count: int, seed: int, spread: float = 0.1) -> NDArray[np.float32]:
    """Unit vectors near one axis of a space of 12."""
    rows = np.eye(12)[axis] + np.random.default_rng(seed).normal(0, spread, (count, 12))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def product(name: str, axis: int, bound: float = 0.2) -> ProductAnchors:
    """A product whose patches lie around its axis and around axis 0, the background of all."""
    anchors = np.concatenate([around(axis, 3, axis), around(0, 3, 0, 0.01)])
    return ProductAnchors(name, anchors, around(axis, 4, axis), bound)


def picture(axis: int, seed: int = 9) -> NDArray[np.float32]:
    return np.concatenate([around(axis, 20, seed, 0.05), around(0, 40, seed + 1, 0.01)])


INDEX = AnchorIndex([product("bolt", 1), product("nut", 2), product("washer", 3)])


@pytest.mark.parametrize(("axis", "name"), [(1, "bolt"), (2, "nut"), (3, "washer")])
def test_route_patches_of_a_product_go_to_it_despite_the_background(axis: int, name: str) -> None:
    route = INDEX.route(picture(axis))
    assert route.product == name
    assert route.nearest == name
    assert route.confidence > 0.5
    assert route.distance <= 1.0


def test_route_stranger_is_unknown_with_the_nearest_named() -> None:
    route = INDEX.route(around(7, 60, 1))
    assert route.product is None
    assert route.nearest in ("bolt", "nut", "washer")
    assert route.distance > 1.0


def test_route_a_defect_on_a_fifth_of_the_patches_does_not_make_a_part_unknown() -> None:
    patches = picture(1)
    spoiled = patches.copy()
    spoiled[:10] = around(8, 10, 3)
    assert INDEX.route(spoiled).product == "bolt"


def test_route_without_products_is_unknown() -> None:
    route = AnchorIndex([]).route(picture(1))
    assert route.product is None
    assert route.nearest is None


def test_route_single_product_wins_all_votes() -> None:
    route = AnchorIndex([product("bolt", 1)]).route(picture(1))
    assert route.product == "bolt"
    assert route.confidence == 1.0


def test_route_with_a_shortlist_agrees_with_all_products() -> None:
    products = [product(f"p{axis}", axis) for axis in range(1, 10)]
    whole, short = AnchorIndex(products, shortlist=99), AnchorIndex(products, shortlist=2)
    for axis in range(1, 10):
        assert short.route(picture(axis)).product == whole.route(picture(axis)).product == f"p{axis}"


def test_route_adding_a_product_changes_no_other_distance() -> None:
    before = AnchorIndex([product("bolt", 1), product("nut", 2)]).route(picture(1))
    after = INDEX.route(picture(1))
    assert after.product == before.product
    assert after.distance == pytest.approx(before.distance, rel=1e-6)


def test_look_alikes_the_same_anchors_come_first() -> None:
    twins = AnchorIndex([product("bolt", 1), product("nut", 2), product("bolt-copy", 1)])
    (first, likeness), (_, other) = twins.look_alikes("bolt")
    assert first == "bolt-copy"
    assert likeness == pytest.approx(1.0, abs=1e-5)
    assert other < likeness


def test_trimmed_distance_ignores_the_worst_fifth() -> None:
    anchors = np.eye(12, dtype=np.float32)[:1]
    patches = np.repeat(anchors, 10, axis=0)
    patches[:2] = np.eye(12, dtype=np.float32)[5]
    assert trimmed_distance(patches, anchors) == pytest.approx(0.0, abs=1e-6)


def test_route_frame_of_one_part_of_a_product_is_farther_than_one_in_its_shares() -> None:
    """A smooth product is not a rough one that has smooth places: each patch finds its like, the shares do not."""
    both = np.concatenate([around(1, 30, 4, 0.02), around(2, 30, 5, 0.02)])
    rough = ProductAnchors("rough", both, pooled(both)[None], 0.003)
    in_shares = np.concatenate([around(1, 30, 6, 0.02), around(2, 30, 7, 0.02)])
    smooth = around(1, 60, 8, 0.02)
    assert trimmed_distance(smooth, both) == pytest.approx(trimmed_distance(in_shares, both), rel=0.5)
    index = AnchorIndex([rough])
    assert index.route(in_shares).product == "rough"
    assert index.route(smooth).product is None


def test_joint_distance_of_an_anchor_image_itself_stays_above_rounding() -> None:
    assert joint_distance(0.1, 0.0) == joint_distance(0.1, -1e-7) > 0.0


def test_distance_is_what_routing_compares_with_the_bound() -> None:
    bolt = product("bolt", 1)
    assert AnchorIndex([bolt]).route(picture(1)).distance == pytest.approx(bolt.distance(picture(1)) / bolt.bound)


def test_build_anchors_are_unit_and_few() -> None:
    anchors = build_anchors(np.concatenate([around(axis, 100, axis) for axis in range(6)]), np.random.default_rng(0))
    assert anchors.shape == (32, 12)
    np.testing.assert_allclose(np.linalg.norm(anchors, axis=1), 1.0, atol=1e-5)


def test_anchors_without_a_bound_are_refused() -> None:
    with pytest.raises(ArtifactError):
        product("bolt", 1, bound=0.0)


def test_routing_profile_is_complete() -> None:
    profile = routing_profile()
    assert profile.mean.shape == profile.spread.shape == (40,)
    assert (profile.spread > 0).all()
    assert profile.graph.size_px == 128


def test_route_each_product_compares_the_patches_of_its_own_halves() -> None:
    products = [product("bolt", 1), product("nut", 2), product("washer", 3)]
    index = AnchorIndex(products, halvings=["decoder", "mean", "decoder"])
    assert set(index.halvings) == {"decoder", "mean"}
    for seed in range(1, 5):
        seen = picture(seed)
        assert index.route({"decoder": seen, "mean": seen}) == INDEX.route(seen)
    assert index.route({"decoder": picture(4), "mean": picture(2)}).product == "nut"
    assert index.route({"decoder": picture(2), "mean": picture(4)}).product != "nut"
    assert index.route({"decoder": picture(3), "mean": picture(4)}).product == "washer"
