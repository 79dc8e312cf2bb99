"""Measures of a whole frame, and the checks that are stored with a product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from inspector.config.sections import EngineSection
from inspector.domain import Cause, Failure, FrameFault, LiveSet, Routed
from inspector.errors import ArtifactError
from inspector.training.dataset.folders import ImageSource
from inspector.training.enrol import Enrolment, EnrolmentOptions, enrol
from inspector.training.health.faults import make_faulty
from inspector.vision.artifacts.format import Artifact, digest_of, pack, unpack
from inspector.vision.health import checks as checks_module
from inspector.vision.health.checks import HealthChecks
from inspector.vision.health.measures import (
    BLOCKS,
    Look,
    block_distance,
    largest_area,
    most_shift_gain,
    shift_gain,
    spectrum,
)
from inspector.vision.health.statement import health_statement
from inspector.vision.images.preparation import Preparation, counted_cells
from inspector.vision.routing.profile import routing_copy
from inspector.vision.serving import lineup as lineup_module
from inspector.vision.serving.lineup import VisionLineup, VisionLoader
from tests.unit.drawings import FakeEngine, draw, encode, frame_of, scene, version_of

ALL = np.ones((BLOCKS, BLOCKS), np.bool_)
WHOLE_FRAME = (FrameFault.DARK, FrameFault.BRIGHT, FrameFault.BLURRED)


def look(pixels: NDArray[np.uint8], counted: NDArray[np.bool_] = ALL) -> Look:
    return Look(routing_copy(pixels), counted)


def even(level: int, side: int = 128) -> NDArray[np.uint8]:
    return np.full((side, side, 3), level, np.uint8)


@pytest.fixture(scope="module")
def watched() -> Enrolment:
    """A product of which every check can be made."""
    images = [ImageSource(f"{seed}.png", payload=encode(scene(seed))) for seed in range(40)]
    return enrol("tile", images, EnrolmentOptions(profile="fast"), FakeEngine())


@pytest.fixture
def checks(watched: Enrolment) -> HealthChecks:
    health = unpack(watched.artifact).health
    assert health is not None
    return health


def test_brightness_is_the_mean_level_and_never_zero() -> None:
    assert look(even(100)).brightness() == pytest.approx(100)
    assert look(even(0)).brightness() > 0


def test_saturation_is_the_share_of_white_pixels() -> None:
    pixels = even(100)
    pixels[:32] = 255
    assert look(pixels).saturation() == pytest.approx(0.25)


def test_fineness_falls_with_blur_and_not_with_light_or_contrast() -> None:
    sharp = scene(1, 256)
    dim = (sharp * 0.6).astype(np.uint8)
    plain = look(sharp).fineness()
    assert look(dim).fineness() == pytest.approx(plain, abs=0.1)
    values = [look(np.asarray(cv2.GaussianBlur(sharp, (0, 0), sigma), np.uint8)).fineness() for sigma in (1, 2, 4)]
    assert plain > values[0] > values[1] > values[2]


def test_shift_gain_is_none_where_a_part_lies_as_it_should_and_large_where_it_does_not() -> None:
    part = draw("disc", 3, size=(128, 128))
    template = spectrum(look(part).edges())
    assert shift_gain(look(draw("disc", 4, size=(128, 128))).edges(), template) < 0.05
    moved = np.roll(part, 20, axis=1)
    assert shift_gain(look(moved).edges(), template) > 0.3
    assert shift_gain(look(even(90)).edges(), template) == pytest.approx(0.0), "an even frame has no edges to shift"


def test_most_shift_gain_is_a_bound_of_it_whatever_the_frame_shows() -> None:
    template = np.mean([look(draw("disc", seed, size=(128, 128))).edges() for seed in range(9)], axis=0)
    others = [draw("disc", 20), draw("plate", 3), draw("mesh", 5), scene(4), even(0), even(90)]
    for frame in [*others, *(np.roll(others[0], (4 * step, 9 * step), axis=(0, 1)) for step in range(1, 12))]:
        edges = look(frame).edges()
        assert shift_gain(edges, spectrum(template)) <= most_shift_gain(edges, template) + 1e-5
    assert most_shift_gain(look(others[0]).edges(), template) < 0.4, "it rules out a shift where there is none"


def test_find_of_a_part_in_its_place_makes_no_fourier_transform(
    checks: HealthChecks, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    monkeypatch.setattr(checks_module, "shift_gain", lambda *_: made.append(1) or 0.0)
    assert checks.find(routing_copy(scene(100))) is None
    assert not made
    checks.find(routing_copy(make_faulty(FrameFault.MOVED, scene(100), np.random.default_rng(9))))
    assert made


def test_block_distance_is_to_the_nearest_good_image_at_the_same_place() -> None:
    good = np.stack([look(even(level)).blocks() for level in (60, 90)])
    assert block_distance(look(even(90)).blocks(), good).max() == 0
    assert block_distance(look(even(100)).blocks(), good) == pytest.approx(10)


def test_largest_area_counts_one_connected_piece_among_the_counted_blocks() -> None:
    far = np.zeros((BLOCKS, BLOCKS), np.bool_)
    far[:4, :4] = far[8:10, 8:10] = True
    assert largest_area(far, ALL) == pytest.approx(16 / 256)
    lower = ALL.copy()
    lower[:8] = False
    assert largest_area(far, lower) == pytest.approx(4 / 128)
    assert largest_area(far & False, ALL) == 0


def test_counted_cells_are_those_of_region_and_mask() -> None:
    assert counted_cells(Preparation(), 4).all()
    half = counted_cells(Preparation(roi=(0.5, 0.0, 0.5, 1.0)), 4)
    assert half.tolist() == [[False, False, True, True]] * 4
    mask = np.zeros((40, 80), np.uint8)
    mask[:20] = 255
    encoded = bytes(cv2.imencode(".png", mask)[1])
    both = counted_cells(Preparation(roi=(0.5, 0.0, 0.5, 1.0), mask=encoded), 4)
    assert both.tolist() == [[False, False, True, True]] * 2 + [[False] * 4] * 2
    tiny = counted_cells(Preparation(roi=(0.0, 0.0, 0.02, 0.02)), 4)
    assert tiny.sum() == 1, "a region smaller than a cell still counts somewhere"


@pytest.mark.parametrize("fault", [*WHOLE_FRAME, FrameFault.MOVED, FrameFault.COVERED])
def test_find_names_each_fault_of_a_part_and_its_measure(checks: HealthChecks, fault: FrameFault) -> None:
    assert fault in checks.checks
    rng = np.random.default_rng(9)
    for seed in range(100, 120):
        sound = scene(seed)
        assert checks.find(routing_copy(sound)) is None
        scratched = sound.copy()
        scratched[30:50, 30:60] = 255
        assert checks.find(routing_copy(scratched)) is None, "a defect is no fault of the frame"
        found = checks.find(routing_copy(make_faulty(fault, sound, rng)))
        assert found is not None
        assert found.fault is fault
        assert found.measure


def test_find_of_a_frame_that_routing_does_not_know_names_no_fault_of_another_part(checks: HealthChecks) -> None:
    for seed in range(10):
        for product in ("disc", "plate", "mesh"):
            assert checks.find(routing_copy(draw(product, seed)), is_known=False) is None
        moved = make_faulty(FrameFault.MOVED, scene(seed), np.random.default_rng(seed))
        found = checks.find(routing_copy(moved), is_known=False)
        assert found is None or found.fault is not FrameFault.MOVED
        for fault in (FrameFault.DARK, FrameFault.BLURRED, FrameFault.COVERED):
            made = make_faulty(fault, scene(seed), np.random.default_rng(seed))
            found = checks.find(routing_copy(made), is_known=False)
            assert found is not None
            assert found.fault is fault


def test_pack_and_unpack_keep_the_checks(watched: Enrolment, checks: HealthChecks) -> None:
    again, manifest = pack(unpack(watched.artifact))
    assert digest_of(again) == watched.digest
    assert manifest["frame_health"]["n"] == 40
    assert set(manifest["frame_health"]["checks"]) == {fault.value for fault in checks.checks}
    assert not set(manifest["frame_health"]["checks"]) & set(manifest["frame_health"]["not_checked"])


def changed(artifact: Artifact, **fields: Any) -> bytes:
    health = artifact.health
    assert health is not None
    assert health.good is not None
    good = replace(health.good, **fields)
    return pack(replace(artifact, health=HealthChecks(good, health.checks, health.refused, health.n)))[0]


@pytest.mark.parametrize(
    "fields",
    [
        {"template": np.zeros((64, 63), np.float32)},
        {"template": np.full((64, 64), np.nan, np.float32)},
        {"blocks": np.zeros((0, 2, 16, 16), np.uint8)},
        {"blocks": np.zeros((3, 2, 16, 16), np.float32)},
        {"counted": np.zeros((16, 16), np.bool_)},
        {"brightness": 0.0},
    ],
)
def test_unpack_refuses_checks_that_say_nothing(watched: Enrolment, fields: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError):
        unpack(changed(unpack(watched.artifact), **fields))


def test_read_refuses_checks_of_unknown_names_or_without_good_images(checks: HealthChecks) -> None:
    stored = checks.to_manifest()
    limit = {"limit": 1.0, "largest_good": 0.1, "named": 1.0}
    for broken in ({**stored, "checks": {"frozen": limit}}, {**stored, "good": None}):
        with pytest.raises(ArtifactError):
            HealthChecks.read(broken, checks.tensors())


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., VisionLineup]:
    monkeypatch.setattr(lineup_module, "create_engine", lambda *_: FakeEngine())

    def load(*enrolments: tuple[str, Enrolment]) -> VisionLineup:
        live = LiveSet("r1", tuple(version_of(made, name) for name, made in enrolments))
        artifacts = {made.digest: made.artifact for _, made in enrolments}
        lineup, events = VisionLoader(EngineSection(), tmp_path).load(live, artifacts.get, None)
        assert isinstance(lineup, VisionLineup)
        assert events == []
        return lineup

    return load


def test_route_faulty_frame_is_refused_before_it_is_prepared_and_names_its_product(
    loaded: Callable[..., VisionLineup], watched: Enrolment
) -> None:
    lineup = loaded(("tile", watched))
    assert isinstance(lineup.router.route(frame_of(scene(300))), Routed)
    moved = make_faulty(FrameFault.MOVED, scene(300), np.random.default_rng(1))
    found = lineup.router.route(frame_of(moved))
    assert isinstance(found, Failure)
    assert (found.cause, found.frame_fault) == (Cause.FRAME_HEALTH, FrameFault.MOVED)
    assert found.detail.startswith("moved: ")
    assert found.route is not None
    assert (found.route.product, found.route.product_version) == ("tile", 1)


def test_route_fault_that_hides_the_product_is_named_by_the_expected_product(
    loaded: Callable[..., VisionLineup], watched: Enrolment
) -> None:
    router = loaded(("tile", watched)).router
    for fault in WHOLE_FRAME:
        made = make_faulty(fault, scene(301), np.random.default_rng(1))
        for expected in ("tile", None):
            found = router.route(replace(frame_of(made), expected=expected))
            assert isinstance(found, Failure)
            assert found.frame_fault is fault
    foreign = router.route(replace(frame_of(draw("disc", 5)), expected="tile"))
    assert isinstance(foreign, Failure)
    assert foreign.cause is Cause.UNKNOWN_PRODUCT


def test_load_version_from_before_the_checks_is_told_and_judges_every_frame(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, watched: Enrolment
) -> None:
    monkeypatch.setattr(lineup_module, "create_engine", lambda *_: FakeEngine())
    artifact = replace(unpack(watched.artifact), health=None)
    bare = {name: value for name, value in artifact.manifest.items() if name != "frame_health"}
    content, manifest = pack(replace(artifact, manifest=bare))
    assert "frame_health" not in manifest
    older = replace(watched, artifact=content, digest=digest_of(content), manifest=manifest)
    live = LiveSet("r1", (version_of(older, "tile"),))
    loader = VisionLoader(EngineSection(), tmp_path)
    lineup, events = loader.load(live, {older.digest: content}.get, None)
    assert [(event.kind, event.subject) for event in events] == [("no_frame_health", "tile")]
    moved = make_faulty(FrameFault.MOVED, scene(300), np.random.default_rng(1))
    assert isinstance(lineup.router.route(frame_of(moved)), Routed)
    _, again = loader.load(live, {}.get, lineup)
    assert again == [], "told once, not at every change of the lineup"


def test_statement_says_what_is_checked_and_why_the_rest_is_not(
    watched: Enrolment, enrolled: dict[str, Enrolment]
) -> None:
    assert "frames that are blurred, bright, covered, dark or moved are told" in health_statement(watched.manifest)
    few = health_statement(enrolled["disc"].manifest)
    assert few.startswith("frames are not checked; not checked for blurred, ")
    assert "30 good images are needed, 8 were given" in few
    assert "enrol it again" in health_statement({})


def test_find_of_a_black_frame_is_dark_whatever_routing_knows(checks: HealthChecks) -> None:
    black = np.zeros_like(routing_copy(scene(5)))
    for is_known in (True, False):
        found = checks.find(black, is_known=is_known)
        assert found is not None
        assert found.fault is FrameFault.DARK
