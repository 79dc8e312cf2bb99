"""The figures of `benchmarks.routing_products` on two products that can't be mistaken, and on a double."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.routing_products import IN_USE, Seen, route_all
from inspector.vision.routing.anchors import ProductAnchors


def seen(name: str, shows: int, *others: int) -> Seen:
    """A product whose patches all show one axis of four; `others`: the axes that its defective test frames show."""
    axis = np.eye(4, dtype=np.float32)
    test = [np.tile(axis[which], (8, 1)).astype(np.float16) for which in (shows, *others)]
    anchors = ProductAnchors(name, axis[[shows]], axis[[shows]], bound=1.0)
    return Seen(anchors, [0.1] * 10, test, np.array([False, *(True for _ in others)]))


def test_route_all_counts_what_is_right_unknown_and_taken_for_another() -> None:
    bolt, nut = route_all({"bolt": seen("bolt", 0, 0, 1, 2), "nut": seen("nut", 1)}, IN_USE)
    assert (bolt.right(is_defective=False), bolt.unknown(is_defective=False)) == (1.0, "0 of 1")
    assert bolt.right(is_defective=True) == pytest.approx(1 / 3)
    assert bolt.unknown(is_defective=True) == "1 of 3"
    assert bolt.taken_for == "nut 1"
    assert bolt.taken_when_left_out == "nut 1"
    assert nut.taken_when_left_out == "-"


def test_route_all_takes_a_double_for_the_product_that_is_left() -> None:
    found = route_all({"bolt": seen("bolt", 0), "double": seen("double", 0), "nut": seen("nut", 1)}, IN_USE)
    assert [each.taken_when_left_out for each in found] == ["double 1", "bolt 1", "-"]
    assert found[0].mistakes[2] == 1.0
