"""From good images to a version: what is used, what is left out, what is promised."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from inspector.errors import EnrolmentError, UsageError
from inspector.training import enrol as enrolment
from inspector.training.dataset.folders import ImageSource, load_folder, load_paths
from inspector.training.dataset.framing import Framing
from inspector.training.enrol import EnrolmentOptions, enrol
from inspector.training.evidence.evidence import keystone_of
from inspector.training.heads.factory import recipe_for
from inspector.training.heads.student_plan import TrainingPlan
from inspector.training.routing.product_anchors import unknown_bound
from inspector.training.statistics.calibrating import calibrate
from inspector.vision.artifacts.format import unpack
from inspector.vision.images.preparation import Preparation
from inspector.vision.serving.product_inspector import ProductInspector
from inspector.vision.serving.tiling import cut, tiled
from tests.unit.drawings import FakeEngine, draw, encode, good_images

FAST = EnrolmentOptions(profile="fast")


def test_enrol_few_images_is_an_estimate(fake_engine: FakeEngine) -> None:
    found = enrol("disc", good_images("disc", 6), FAST, fake_engine)
    assert found.report.n_used == 6
    assert found.manifest["calibration"]["kind"] == "estimate"
    assert found.manifest["calibration"]["provisional"]
    assert "cross-fit" in found.report.statement


def test_enrol_many_images_holds_a_fifth_out_of_every_bank(fake_engine: FakeEngine) -> None:
    found = enrol("disc", good_images("disc", 100), FAST, fake_engine)
    calibration = found.manifest["calibration"]
    assert calibration["kind"] == "certified"
    assert calibration["n"] == 20
    artifact = unpack(found.artifact)
    run = np.arange(100) // 2
    held = set(np.flatnonzero(run % 5 == 4).tolist())
    used = {int(image) for member in artifact.head.members for image in member.sources[:, 0]}
    assert used
    assert not used & held


@pytest.mark.parametrize("count", [0, 1, 4])
def test_enrol_too_few_images_says_how_many_are_needed(fake_engine: FakeEngine, count: int) -> None:
    with pytest.raises(EnrolmentError, match=f"disc was given {count} image.*at least 5"):
        enrol("disc", good_images("disc", count), FAST, fake_engine)


def test_enrol_unreadable_images_are_named_and_skipped(fake_engine: FakeEngine, tmp_path: Path) -> None:
    images = good_images("disc", 6)
    images.insert(2, ImageSource("torn.png", payload=images[0].read()[:200]))
    images.append(ImageSource("gone.png", path=tmp_path / "gone.png"))
    report = enrol("disc", images, FAST, fake_engine).report
    assert [name for name, _ in report.unreadable] == ["torn.png", "gone.png"]
    assert report.n_used == 6
    assert any("torn.png was left out" in warning for warning in report.warnings)


def test_enrol_too_few_after_skipping_says_how_many_were_left_out(fake_engine: FakeEngine) -> None:
    images = [*good_images("disc", 4), ImageSource("text.png", payload=b"not an image")]
    with pytest.raises(EnrolmentError, match=r"4 usable images; .* Not usable, .*: text\.png\."):
        enrol("disc", images, FAST, fake_engine)


def test_enrol_equal_images_count_once(fake_engine: FakeEngine) -> None:
    images = good_images("disc", 6)
    same_bytes = ImageSource("copy.png", payload=images[1].read())
    other_bytes = cv2.imencode(".png", draw("disc", 2)[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
    images += [same_bytes, ImageSource("saved.png", payload=other_bytes)]
    report = enrol("disc", images, FAST, fake_engine).report
    assert report.n_used == 6
    assert report.duplicates == (("copy.png", "disc-1.png"), ("saved.png", "disc-2.png"))


def test_enrol_twice_gives_the_same_head(fake_engine: FakeEngine) -> None:
    one, two = (unpack(enrol("disc", good_images("disc", 6), FAST, fake_engine).artifact) for _ in range(2))
    assert one.calibration == two.calibration
    for first, second in zip(one.head.members, two.head.members, strict=True):
        np.testing.assert_array_equal(first.bank.prototypes, second.bank.prototypes)


@pytest.mark.parametrize(("head", "profile"), [("oracle", "standard"), ("prototype", "best")])
def test_enrol_unknown_choice_is_a_usage_error(fake_engine: FakeEngine, head: str, profile: str) -> None:
    with pytest.raises(UsageError, match="choose one of"):
        enrol("disc", good_images("disc", 6), EnrolmentOptions(head, profile), fake_engine)


def test_enrol_protoad_runs_on_the_stride_4_grid(fake_engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_for("protoad", "standard")
    small = replace(recipe, members=(replace(recipe.members[0], prototypes=24),))
    monkeypatch.setattr(enrolment, "recipe_for", lambda *_: small)
    artifact = unpack(enrol("disc", good_images("disc", 5), EnrolmentOptions("protoad"), fake_engine).artifact)
    (only,) = artifact.head.members
    assert only.grid == 64
    assert only.bank.unit_length
    assert artifact.head.readout.reading == "smoothed_max"


def test_enrol_reports_progress_to_its_end(fake_engine: FakeEngine) -> None:
    seen: dict[str, tuple[int, int]] = {}
    enrol(
        "disc",
        good_images("disc", 6),
        FAST,
        fake_engine,
        lambda phase, done, total: seen.update({phase: (done, total)}),
    )
    assert set(seen) == {"read", "hygiene", "features", "held-out scores", "prototypes"}
    assert all(done == total for done, total in seen.values())


def test_enrol_an_odd_image_among_the_good_is_named(fake_engine: FakeEngine) -> None:
    images = good_images("disc", 100)
    images[8] = ImageSource("odd.png", payload=encode(draw("disc", 500, defect=True)))  # in a held-out run
    assert "odd.png" in enrol("disc", images, FAST, fake_engine).report.suspects


def test_enrol_threshold_that_rests_on_one_odd_image_says_so_and_where_it_would_lie(
    fake_engine: FakeEngine,
) -> None:
    images = good_images("disc", 40)
    odd = ImageSource("odd.png", payload=encode(draw("disc", 99, defect=True)))
    found = enrol("disc", [*images, odd], FAST, fake_engine)
    keystone = found.evidence.keystone
    assert keystone is not None
    assert (keystone.images, keystone.stands_apart) == (("odd.png",), True)
    assert any("rests on odd.png alone" in warning for warning in found.report.warnings)
    assert found.manifest["evidence"]["keystone"]["level_without"] == keystone.level_without


def test_keystone_of_scores_that_lie_close_together_does_not_stand_alone() -> None:
    scores = np.linspace(9.0, 12.0, 40)
    named = [(f"{index}.png", float(score)) for index, score in enumerate(scores)]
    found = keystone_of(named, calibrate(scores, held_out="", is_cross_fit=False))
    assert found is not None
    assert (found.images, found.stands_apart) == (("39.png",), False)
    assert 0.9 < found.level_without < 1.0
    assert found.objection is None


@pytest.mark.parametrize("odd", [(60.0, 62.0), (60.0, 90.0)])
def test_keystone_of_two_odd_images_names_both_and_objects(odd: tuple[float, float]) -> None:
    scores = np.concatenate([np.linspace(9.0, 12.0, 40), odd])
    named = [(f"{index}.png", float(score)) for index, score in enumerate(scores)]
    found = keystone_of(named, calibrate(scores, held_out="", is_cross_fit=False))
    assert found is not None
    assert found.images == ("41.png", "40.png")
    assert found.level_without < 0.1
    assert "41.png and 40.png alone" in (found.objection or "")
    assert "--exclude 41.png --exclude 40.png" in found.warning


def test_unknown_bound_is_wider_where_few_were_held_out() -> None:
    spread = [0.05, 0.05, 0.15]
    assert unknown_bound(spread) > unknown_bound(spread * 10) > unknown_bound(spread * 100) > 0.15


def test_load_folder_takes_images_in_order_and_names_other_kinds(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "c.bmp", "notes.txt", ".hidden.png"):
        (tmp_path / name).write_bytes(b"x")
    offered = load_folder(tmp_path)
    assert [Path(image.name).name for image in offered.images] == ["a.JPG", "b.png"]
    assert [Path(each.name).name for each in offered.not_taken] == [".hidden.png", "c.bmp", "notes.txt"]
    assert offered.images[0].read() == b"x"


def test_load_folder_that_holds_nothing_says_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no folder"):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="There is no JPEG or PNG"):
        load_folder(tmp_path)
    (tmp_path / "a.tif").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"a\.tif \(a TIFF image; convert it to PNG\)"):
        load_folder(tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        load_folder(tmp_path / "a.tif")


def test_load_paths_mixes_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(b"1")
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "two.png").write_bytes(b"2")
    offered = load_paths([tmp_path / "one.png", folder])
    assert [image.read() for image in offered.images] == [b"1", b"2"]


def test_enrol_with_tiles_calibrates_on_whole_parts(fake_engine: FakeEngine) -> None:
    options = EnrolmentOptions(profile="fast", framing=Framing(tiles=(2, 2), size_px=256))
    found = enrol("disc", good_images("disc", 6), options, fake_engine)
    assert found.manifest["calibration"]["n"] == 6
    assert found.manifest["preparation"]["tiles"] == [2, 2]
    assert (found.manifest["backbone_passes"], found.report.backbone_passes) == (4.0, 4.0)
    artifact = unpack(found.artifact)
    assert artifact.preparation.canvas == (480, 480)
    embedder = tiled(fake_engine.embedder(artifact.graph), artifact.preparation)
    inspector = ProductInspector(artifact, fake_engine)
    for probe in artifact.probes:
        (whole,) = inspector.judge(embedder(probe.prepared[None]))
        alone = ProductInspector(replace(artifact, preparation=Preparation()), fake_engine)
        tiles = alone.judge(fake_engine.embedder(artifact.graph)(cut(probe.prepared, artifact.preparation)))
        assert whole.score == pytest.approx(max(tile.score for tile in tiles))
        assert whole.score == pytest.approx(probe.score)
        assert whole.grid_map.shape == (60, 60)
    rows = {int(row) for member in artifact.head.members for row in member.sources[:, 1]}
    assert max(rows) > 16  # of tiles below the first


def test_enrol_students_learn_from_tiles_of_whole_images(fake_engine: FakeEngine) -> None:
    options = EnrolmentOptions("student", training=TrainingPlan(steps=2), framing=Framing(tiles=(1, 2), size_px=64))
    found = enrol("disc", good_images("disc", 6), options, fake_engine)
    artifact = unpack(found.artifact)
    assert found.manifest["calibration"]["n"] == 2
    assert artifact.preparation.canvas == (64, 112)
    embedder = tiled(fake_engine.embedder(artifact.graph), artifact.preparation)
    (judged,) = ProductInspector(artifact, fake_engine).judge(embedder(artifact.probes[0].prepared[None]))
    assert judged.score == pytest.approx(artifact.probes[0].score)
    assert judged.grid_map.shape == (64, 112)


def test_enrol_region_in_pixels_needs_frames_of_one_size(fake_engine: FakeEngine) -> None:
    options = EnrolmentOptions(profile="fast", framing=Framing(roi=(24, 24, 48, 48), is_roi_px=True))
    found = enrol("disc", good_images("disc", 5), options, fake_engine)
    assert found.manifest["preparation"]["roi"] == [0.25, 0.25, 0.5, 0.5]
    wider = ImageSource("wide.png", payload=encode(draw("disc", 9, size=(96, 120))))
    with pytest.raises(UsageError, match="differ in size"):
        enrol("disc", [*good_images("disc", 5), wider], options, fake_engine)
