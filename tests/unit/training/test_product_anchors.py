"""The bound of a product in routing: how far a frame may lie and still be of the product."""

from __future__ import annotations

import pytest

from inspector.training.routing.product_anchors import MOST_MEDIANS, UNKNOWN_MEDIANS, unknown_bound


def test_unknown_bound_of_one_odd_picture_holds_the_picture_and_little_more() -> None:
    bound = unknown_bound([1.0, 1.0, 1.0, 1.0, 1.0, 4.2])
    assert 4.2 < bound <= 4.5


def test_unknown_bound_of_one_odd_picture_ends_at_the_most_medians() -> None:
    assert unknown_bound([1.0, 1.0, 1.0, 1.0, 1.0, 3.0]) == pytest.approx(MOST_MEDIANS)


def test_unknown_bound_of_images_that_are_alike_is_some_medians() -> None:
    assert unknown_bound([0.5] * 40) == pytest.approx(0.5 * UNKNOWN_MEDIANS)


def test_unknown_bound_of_images_that_spread_has_its_whole_margin() -> None:
    assert unknown_bound([1.0, 1.0, 2.0]) == pytest.approx(2.0 * (1.2 + 2.0 / 3.0))


@pytest.mark.parametrize("count", [1, 2, 3, 6, 40])
def test_unknown_bound_lies_above_every_held_out_distance(count: int) -> None:
    distances = [1.0 + 9.0 * (number == 0) for number in range(count)]
    assert unknown_bound(distances) > max(distances)


def test_unknown_bound_of_equal_images_is_above_nothing() -> None:
    assert unknown_bound([0.0, 0.0]) > 0.0
