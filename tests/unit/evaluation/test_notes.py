"""Labelled folders as people have them: what is odd is named, and one bad file ends nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from inspector.errors import UsageError
from inspector.evaluation.evaluate import EvaluationOptions, evaluate, examine
from inspector.evaluation.layouts import read_layout, read_mask
from inspector.reports.evaluation import evaluation_html
from inspector.training.enrol import EnrolmentOptions, enrol
from tests.unit.drawings import FakeEngine, draw, encode, good_images

OPTIONS = EvaluationOptions(mode="oracle", profile="fast")
PNG_OF = ".png"


def mask_of(seed: int) -> np.ndarray:
    """Where a drawn defect is, uint8 [96, 96], 0 or 255."""
    apart = np.abs(draw("disc", seed, defect=True).astype(int) - draw("disc", seed)).max(axis=2)
    return np.where(apart > 30, 255, 0).astype(np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("train/good", "test/good", "test/spot", "ground_truth/spot"):
        (tmp_path / "disc" / name).mkdir(parents=True)
    for seed in range(8):
        (tmp_path / "disc/train/good" / f"{seed:03}.png").write_bytes(encode(draw("disc", seed)))
    for seed in range(4):
        (tmp_path / "disc/test/good" / f"{seed:03}.png").write_bytes(encode(draw("disc", 50 + seed)))
        (tmp_path / "disc/test/spot" / f"{seed:03}.png").write_bytes(encode(draw("disc", 90 + seed, defect=True)))
        write_mask(tmp_path, seed, mask_of(90 + seed))
    return tmp_path


def write_mask(root: Path, seed: int, mask: np.ndarray, kind: str = ".png", quality: int = 60) -> None:
    content = cv2.imencode(kind, mask, [cv2.IMWRITE_JPEG_QUALITY, quality] if kind == ".jpg" else [])[1].tobytes()
    (root / "disc/ground_truth/spot" / f"{seed:03}_mask.png").write_bytes(content)


def figures_of(root: Path) -> tuple[dict[str, Any], list[str]]:
    found = evaluate(root, OPTIONS, FakeEngine())
    json.dumps(found, allow_nan=False)
    return found["products"]["disc"], found["notes"]


def test_evaluate_a_clean_folder_has_nothing_to_note(root: Path) -> None:
    figures, notes = figures_of(root)
    assert notes == []
    assert figures["unreadable"] == []
    assert figures["pixel_auroc"] > 0.9


def test_evaluate_skips_what_systems_leave_among_the_images(root: Path) -> None:
    expected, _ = figures_of(root)
    for folder in ("train/good", "test/good", "test/spot"):
        (root / "disc" / folder / "._000.png").write_bytes(b"\0\5\x16\7")
        (root / "disc" / folder / "Thumbs.db").write_bytes(b"x")
    (root / "disc/test/loose.png").write_bytes(encode(draw("disc", 1)))
    (root / "._disc").mkdir()
    figures, notes = figures_of(root)
    assert [figures[key] for key in ("n_train", "n_good", "n_defect", "image_auroc", "aupro")] == [
        expected[key] for key in ("n_train", "n_good", "n_defect", "image_auroc", "aupro")
    ]
    (said,) = notes
    assert said.startswith("disc: 7 things among the images are not taken: ")
    for name in ("disc/train/good/._000.png", "disc/test/spot/Thumbs.db", "disc/test/loose.png"):
        assert name in said


def test_evaluate_leaves_out_an_unreadable_test_image_and_names_it(root: Path) -> None:
    (root / "disc/test/good/000.png").write_bytes(b"")
    (root / "disc/test/spot/001.png").write_bytes(encode(draw("disc", 91))[:300])
    (root / "disc/train/good/002.png").write_bytes(b"no image")
    figures, notes = figures_of(root)
    assert (figures["n_good"], figures["n_defect"]) == (3, 3)
    assert [Path(each["image"]).name for each in figures["unreadable"]] == ["000.png", "001.png"]
    assert figures["pixel_auroc"] is not None
    assert "disc: 2 test images can't be read and are left out: disc/test/good/000.png (The frame is empty" in notes[0]
    assert "disc: 1 training images can't be read" in notes[1]
    for path in (root / "disc/test").glob("*/*"):
        path.write_bytes(b"")
    with pytest.raises(UsageError, match=r"Not one test image of disc can be read"):
        figures_of(root)


def test_evaluate_names_the_masks_that_are_missing_and_what_that_means(root: Path) -> None:
    (root / "disc/ground_truth/spot/002_mask.png").unlink()
    figures, (said,) = figures_of(root)
    assert (figures["pixel_auroc"], figures["aupro"]) == (None, None)
    assert said == (
        "disc: 1 of 4 defective images have no mask; pixel AUROC and AUPRO need all of them and are empty: "
        "disc/test/spot/002.png"
    )
    for path in (root / "disc/ground_truth/spot").iterdir():
        path.unlink()
    assert figures_of(root)[1] == []


def test_evaluate_reads_masks_with_the_noise_of_a_jpeg_as_black_and_white(root: Path) -> None:
    clean, _ = figures_of(root)
    for seed in range(4):
        write_mask(root, seed, mask_of(90 + seed), ".jpg")
    figures, (said,) = figures_of(root)
    assert figures["pixel_auroc"] == pytest.approx(clean["pixel_auroc"], abs=0.02)
    assert figures["aupro"] == pytest.approx(clean["aupro"], abs=0.05)
    assert said.startswith("disc: 4 masks are not only black and white")


def test_evaluate_says_that_masks_are_inverted_empty_or_of_another_size(root: Path) -> None:
    write_mask(root, 0, 255 - mask_of(90))
    write_mask(root, 1, np.zeros((96, 96), np.uint8))
    write_mask(root, 2, cv2.resize(mask_of(92), (192, 192), interpolation=cv2.INTER_NEAREST))
    figures, notes = figures_of(root)
    assert figures["pixel_auroc"] is not None
    said = "\n".join(notes)
    assert "1 masks mark more than half of their image; if they are inverted, the pixel figures are too: " in said
    assert "1 masks of defective images mark nothing" in said
    assert "1 masks have another size than their image and were scaled to it: " in said
    assert "disc/ground_truth/spot/002_mask.png" in said


@pytest.mark.parametrize("content", [b"", b"no image", encode(np.zeros((96, 40, 3), np.uint8))])
def test_evaluate_with_a_mask_that_fits_no_image_keeps_the_other_figures(root: Path, content: bytes) -> None:
    (root / "disc/ground_truth/spot/001_mask.png").write_bytes(content)
    figures, (said,) = figures_of(root)
    assert figures["image_auroc"] == 1.0
    assert figures["pixel_auroc"] is None
    assert said.startswith("disc: 1 masks do not fit their images; pixel AUROC and AUPRO need all of them")
    assert "disc/test/spot/001.png" in said


def test_evaluate_names_test_images_that_are_training_images(root: Path) -> None:
    train, test = root / "disc/train/good", root / "disc/test/good"
    (test / "same.png").write_bytes((train / "003.png").read_bytes())
    other_bytes = cv2.imencode(PNG_OF, draw("disc", 4)[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
    assert other_bytes != (train / "004.png").read_bytes()
    (test / "saved.png").write_bytes(other_bytes)
    _, (said,) = figures_of(root)
    assert said.startswith("disc: 2 of 10 test images are training images too")
    assert "disc/test/good/same.png (is disc/train/good/003.png)" in said
    assert "disc/test/good/saved.png (is disc/train/good/004.png)" in said


def test_evaluate_of_enrolled_versions_names_test_images_that_they_learnt(root: Path) -> None:
    images = good_images("disc", 8)
    done = enrol("disc", images, EnrolmentOptions(profile="fast"), FakeEngine())
    (root / "disc/test/good/learnt.png").write_bytes(images[5].read())
    (root / "disc/train/good/005.png").unlink()
    options = EvaluationOptions(mode="oracle", artifacts={"disc": done.artifact})
    (said,) = evaluate(root, options, FakeEngine())["notes"]
    assert "disc/test/good/learnt.png (is disc-5.png)" in said


def test_evaluate_names_test_images_that_are_good_and_defective_or_come_twice(root: Path) -> None:
    good, spot = root / "disc/test/good", root / "disc/test/spot"
    (spot / "wrong.png").write_bytes((good / "001.png").read_bytes())
    write_mask(root, 1, mask_of(91))
    (root / "disc/ground_truth/spot/wrong_mask.png").write_bytes(encode(np.full((96, 96, 3), 255, np.uint8)[:, :40]))
    (good / "again.png").write_bytes((good / "002.png").read_bytes())
    said = "\n".join(figures_of(root)[1])
    both = "1 test images are labelled good and defective at once; one of the labels is wrong: "
    assert f"{both}disc/test/good/001.png = disc/test/spot/wrong.png" in said
    assert "1 test images come more than once and count each time: disc/test/good/002.png = " in said


def test_evaluate_takes_names_that_are_not_utf8_everywhere(root: Path) -> None:
    odd = os.fsdecode(os.fsencode(root) + b"/d\xf6se")
    (root / "disc").rename(odd)
    Path(odd, "test/spot").rename(os.fsdecode(os.fsencode(odd) + b"/test/\xff"))
    Path(odd, "ground_truth/spot").rename(os.fsdecode(os.fsencode(odd) + b"/ground_truth/\xff"))
    Path(odd, "test/good/002.png").write_bytes(b"")
    evaluation = examine(root, OPTIONS, FakeEngine())
    json.dumps(evaluation.figures, ensure_ascii=False).encode()
    (figures,) = evaluation.figures["products"].values()
    assert list(figures["by_defect"]) == [r"\xff"]
    assert figures["pixel_auroc"] > 0.9
    assert r"d\xf6se: 1 test images can't be read" in evaluation_html(evaluation, "x").replace("&#39;", "'")


def test_mask_numbers_small_and_near_white_are_defects(tmp_path: Path) -> None:
    """VisA numbers its defects from 1, LOCO from white downwards."""
    for name, value in (("visa", 1), ("loco", 240)):
        mask = np.zeros((20, 20), np.uint8)
        mask[:5, :5] = value
        cv2.imwrite(str(tmp_path / f"{name}.png"), mask)
        assert read_mask([tmp_path / f"{name}.png"], (20, 20)).sum() == 25
    deep = np.zeros((20, 20), np.uint16)
    deep[:5, :5] = 65535
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    assert read_mask([tmp_path / "deep.png"], (20, 20)).sum() == 25


def test_layout_masks_of_another_suffix_are_found(root: Path) -> None:
    mask = root / "disc/ground_truth/spot/001_mask.png"
    mask.rename(mask.with_suffix(".PNG".lower().replace("png", "jpg")))
    (product,) = read_layout(root)
    assert product.has_masks
