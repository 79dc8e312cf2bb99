"""The brakes of an enrolment that learns from people: what is held back, and how it is named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inspector.stream.decode import DecodeLimits
from inspector.training.dataset.folders import ImageSource
from inspector.training.enrol import Enrolment, EnrolmentOptions, enrol
from inspector.training.evidence.known_bad import (
    MOST_NAMED,
    Brakes,
    ConfirmedPart,
    JudgedPart,
    KnownBad,
    judge_known_bad,
    weakened,
)
from inspector.vision.artifacts.eyesight import NOTHING_DRAWN, Eyesight, objections_of
from inspector.vision.artifacts.format import unpack
from inspector.vision.networks.graphs import Graph
from inspector.vision.serving.product_inspector import ProductInspector
from tests.unit.drawings import FakeEngine, draw, encode, good_images

NOTHING = np.zeros((4, 4, 3), np.uint8)


def confirmed(name: str, payload: bytes | None = b"x") -> ConfirmedPart:
    return ConfirmedPart(ImageSource(name, payload=payload), f"part {name}")


def judged(name: str, level: float) -> JudgedPart:
    return JudgedPart(confirmed(name), level, NOTHING)


@pytest.fixture(scope="module")
def disc() -> Enrolment:
    bad = ConfirmedPart(ImageSource("good-one", payload=encode(draw("disc", 3))), "part P3, says ada")
    images = good_images("disc", 12)
    return enrol("disc", images, EnrolmentOptions(profile="fast"), FakeEngine(), brakes=Brakes((bad,)))


def test_part_at_the_threshold_passes_and_one_above_it_does_not() -> None:
    found = KnownBad((judged("a", 0.2), judged("b", 1.0), judged("c", 1.001)))
    assert [each.part.source.name for each in found.passing] == ["a", "b"]
    (objection,) = found.objections
    assert objection == (
        "it would pass 2 of 3 parts that people called bad (part a, at level 0.20; part b, at level 1.00)"
    )
    assert KnownBad((judged("c", 1.2),)).objections == ()
    assert KnownBad().objections == ()


def test_objection_names_a_few_of_many() -> None:
    found = KnownBad(tuple(judged(str(number), 0.1) for number in range(MOST_NAMED + 3)))
    assert "; and 3 more)" in found.objections[0]
    assert len(found.to_manifest()["passing"]) == MOST_NAMED + 3


@pytest.mark.parametrize(
    ("before", "now", "is_weaker"),
    [
        (Eyesight(60, 96), Eyesight(20, 96), True),
        (Eyesight(60, 96), Eyesight(55, 96), False),
        (Eyesight(20, 96), Eyesight(60, 96), False),
        (Eyesight(6, 8), Eyesight(4, 8), False),
        (Eyesight(0, 0, NOTHING_DRAWN), Eyesight(1, 96), False),
        (Eyesight(60, 96), Eyesight(0, 0, NOTHING_DRAWN), False),
        (None, Eyesight(1, 96), False),
    ],
)
def test_weakened_is_a_clear_fall_of_the_drawn_defects_found(
    before: Eyesight | None, now: Eyesight, is_weaker: bool
) -> None:
    assert (weakened(before, now) is not None) is is_weaker


def test_evidence_with_a_fall_of_found_defects_objects(disc: Enrolment) -> None:
    evidence = replace(disc.evidence, known_bad=KnownBad(), found_before=Eyesight(95, 96))
    assert evidence.detectability is None
    assert evidence.objections == (), "nothing was drawn, so nothing can be compared"


def test_enrol_with_a_known_bad_part_that_passes_holds_the_version_back_for_ever(disc: Enrolment) -> None:
    (objection,) = disc.evidence.objections
    assert "part P3, says ada" in objection
    assert objections_of(disc.manifest) == (objection,), "whoever activates it later is asked too"
    assert disc.manifest["evidence"]["known_bad"]["passing"] == ["good-one"]


def test_judge_known_bad_names_what_can_t_be_read_and_sorts_by_level(disc: Enrolment) -> None:
    engine = FakeEngine()
    artifact = unpack(disc.artifact)
    graph: Graph = artifact.graph
    parts = [
        confirmed("defective", encode(draw("disc", 40, defect=True))),
        confirmed("no image", b"\xff\xd8not a jpeg"),
        confirmed("gone", None),
        confirmed("good", encode(draw("disc", 41))),
    ]
    seen: list[tuple[int, int]] = []
    inspector = ProductInspector(artifact, engine)
    found = judge_known_bad(
        inspector, engine.embedder(graph), parts, DecodeLimits(), lambda _phase, done, total: seen.append((done, total))
    )
    assert [each.part.source.name for each in found.judged] == ["good", "defective"]
    assert [each.part.source.name for each in found.passing] == ["good"]
    assert [part.source.name for part, _ in found.unreadable] == ["no image", "gone"]
    assert all("could not be checked" in warning for warning in found.warnings)
    assert seen == [(4, 4)]
