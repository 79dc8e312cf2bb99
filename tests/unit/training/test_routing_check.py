"""What a new product does to the routing of those that are there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inspector.training.enrol import Enrolment, neighbour_of
from inspector.training.evidence.routing_check import (
    KEPT_FRAMES,
    Neighbour,
    Recheck,
    RoutingCheck,
    check_routing,
    kept_frames,
)
from inspector.vision.artifacts.format import unpack


def test_check_routing_of_products_that_differ_finds_all_frames(enrolled: dict[str, Enrolment]) -> None:
    live = [neighbour_of(enrolled[name].artifact) for name in ("plate", "mesh")]
    found = check_routing(neighbour_of(enrolled["disc"].artifact), live)
    assert [each.product for each in found.rechecks] == ["disc", "plate", "mesh"]
    assert all(each.after == each.n > 0 for each in found.rechecks)
    assert found.rechecks[0].before is None
    assert found.warnings == ()
    assert found.alike == ()


def test_check_routing_of_a_double_names_who_loses_frames(enrolled: dict[str, Enrolment]) -> None:
    """The same parts under another name: the router can't tell, and both the warning and the likeness say so."""
    live = [neighbour_of(enrolled["disc"].artifact), neighbour_of(enrolled["mesh"].artifact)]
    double = Neighbour(replace(live[0].anchors, product="double"), live[0].frames)
    found = check_routing(double, live)
    assert found.alike[0][0] == "disc"
    by_name = {each.product: each for each in found.rechecks}
    lost = [each for each in (by_name["double"], by_name["disc"]) if each.lost]
    assert lost
    assert any(f"of {lost[0].product} are now taken for" in warning for warning in found.warnings)
    assert by_name["mesh"].after == by_name["mesh"].before == by_name["mesh"].n


@pytest.mark.parametrize(
    ("n", "before", "after", "is_grave"),
    [(12, 12, 12, False), (12, 12, 11, False), (12, 12, 10, True), (12, 10, 9, False), (2, 2, 1, False),
     (2, None, 0, True), (1, None, 0, True), (40, None, 37, False), (40, None, 35, True), (12, 3, 5, False)],
)  # fmt: skip
def test_recheck_is_grave_where_more_than_a_tenth_is_lost_and_more_than_one(
    n: int, before: int | None, after: int, is_grave: bool
) -> None:
    found = RoutingCheck((Recheck("bolt", n, before, after, "nut"),), ())
    assert bool(found.objections) == is_grave


def test_check_routing_of_a_new_version_leaves_the_old_one_out(enrolled: dict[str, Enrolment]) -> None:
    live = [neighbour_of(enrolled[name].artifact) for name in ("disc", "plate")]
    found = check_routing(neighbour_of(enrolled["disc"].artifact), live)
    assert [each.product for each in found.rechecks] == ["disc", "plate"]
    assert found.alike == ()


def test_check_routing_passes_over_versions_that_kept_no_frames(enrolled: dict[str, Enrolment]) -> None:
    plate = neighbour_of(enrolled["plate"].artifact)
    older = Neighbour(plate.anchors, np.zeros((0, 1, 1), np.float16))
    found = check_routing(neighbour_of(enrolled["disc"].artifact), [older])
    assert [each.product for each in found.rechecks] == ["disc"]


def test_kept_frames_are_spread_and_few() -> None:
    patches = [np.full((4, 2), number, np.float32) for number in range(100)]
    kept = kept_frames(patches, list(range(50, 100)))
    assert kept.shape == (KEPT_FRAMES, 4, 2)
    assert kept.dtype == np.float16
    assert kept[0, 0, 0] == 50
    assert kept[-1, 0, 0] == 99
    assert kept_frames(patches, [3]).shape == (1, 4, 2)


def test_artifact_keeps_its_routing_frames(enrolled: dict[str, Enrolment]) -> None:
    frames = unpack(enrolled["disc"].artifact).routing_frames
    assert frames is not None
    assert frames.dtype == np.float16
    assert len(frames) >= 1
