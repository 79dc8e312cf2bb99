"""Whether a version was found to see defects, by its manifest alone, and what stands against making it live."""

from __future__ import annotations

from typing import Any

import pytest

from inspector.vision.artifacts.eyesight import (
    LEFT_OUT,
    NEVER_DRAWN,
    NOTHING_DRAWN,
    NOTHING_PASSES,
    Eyesight,
    Sight,
    advice_of,
    objections_of,
)


@pytest.mark.parametrize(
    ("found", "sight", "objects", "warns"),
    [
        (9, Sight.BLIND, True, True),
        (10, Sight.WEAK, False, True),
        (29, Sight.WEAK, False, True),
        (30, Sight.SEES, False, False),
    ],
)
def test_eyesight_of_a_weak_head_warns_and_of_a_blind_one_objects(
    found: int, sight: Sight, objects: bool, warns: bool
) -> None:
    eyesight = Eyesight(found, 100)
    assert eyesight.sight is sight
    assert (eyesight.objection is not None) == objects
    assert bool(eyesight.warning) == warns
    assert f"{found} of 100" in eyesight.mark
    assert f"{found} of 100 large drawn defects" in eyesight.sentence


@pytest.mark.parametrize(
    ("why", "objects"), [(LEFT_OUT, False), (NEVER_DRAWN, False), (NOTHING_PASSES, True), (NOTHING_DRAWN, True)]
)
def test_eyesight_not_checked_is_said_and_objects_unless_a_person_left_it_out(why: str, objects: bool) -> None:
    eyesight = Eyesight(0, 0, why)
    assert (eyesight.sight, eyesight.mark) == (Sight.NOT_CHECKED, "not checked")
    assert eyesight.warning == f"it was not checked whether the head sees defects: {why}"
    assert (eyesight.objection is not None) == objects


def _drawn(**entries: Any) -> dict[str, Any]:
    return {"evidence": {"detectability": entries}}


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        ({}, Eyesight(0, 0, NEVER_DRAWN)),
        ({"evidence": None}, Eyesight(0, 0, NEVER_DRAWN)),
        ({"evidence": {"detectability": None}}, Eyesight(0, 0, NEVER_DRAWN)),
        ({"evidence": {"eyesight": Eyesight(3, 60).to_document()}}, Eyesight(3, 60)),
        ({"evidence": {"eyesight": Eyesight(0, 0, LEFT_OUT).to_document()}}, Eyesight(0, 0, LEFT_OUT)),
        (_drawn(large={"found": 3, "n": 60}), Eyesight(3, 60)),
        (_drawn(large={"found": 0, "n": 0}), Eyesight(0, 0, NOTHING_DRAWN)),
        (_drawn(large={"found": 9, "n": 3}), Eyesight(0, 0, NEVER_DRAWN)),
        (_drawn(large={"found": "many", "n": 3}), Eyesight(0, 0, NEVER_DRAWN)),
        (
            _drawn(
                steps=[
                    {"size_share": 0.16, "found": 2, "n": 16},
                    {"size_share": 0.04, "found": 1, "n": 16},
                    {"size_share": 0.01, "found": 9, "n": 16},
                ]
            ),
            Eyesight(3, 32),
        ),
        (_drawn(steps=["?", {"size_share": "large"}]), Eyesight(0, 0, NEVER_DRAWN)),
    ],
)
def test_eyesight_of_a_manifest_is_read_also_where_older_versions_or_strangers_wrote_it(
    manifest: dict[str, Any], expected: Eyesight
) -> None:
    assert Eyesight.of(manifest) == expected


def test_objections_are_those_that_the_manifest_lists_and_that_of_the_eyesight() -> None:
    blind = Eyesight(0, 60)
    evidence = {"eyesight": blind.to_document() | {"advice": "more images"}, "objections": ["12 images show nothing"]}
    assert objections_of({"evidence": evidence}) == ("12 images show nothing", blind.objection)
    assert advice_of({"evidence": evidence}) == "more images"
    assert objections_of({"evidence": {"objections": "text"}}) == ()
    assert (objections_of({}), advice_of({})) == ((), "")
