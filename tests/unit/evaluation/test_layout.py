"""Published layouts, rebuilt small: each is recognised, and every image, defect and mask is where it belongs."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from inspector.errors import UsageError
from inspector.evaluation.evaluate import EvaluationOptions, evaluate
from inspector.evaluation.layouts import LAYOUTS, read_layout, read_mask, recognise, training_images
from inspector.stream.decode import DecodeLimits, decode
from inspector.training.dataset.folders import ImageSource
from tests.unit.drawings import FakeEngine, draw

SIDE = 96


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def mask(x: int = 40, value: int = 255) -> np.ndarray:
    drawn = np.zeros((SIDE, SIDE), np.uint8)
    drawn[40:50, x : x + 10] = value
    return drawn


def mvtec(root: Path) -> None:
    """As MVTec AD and MPDD have it."""
    for seed in range(6):
        write(root / "tube/train/good" / f"{seed:03}.png", draw("disc", seed))
    for seed in range(2):
        write(root / "tube/test/good" / f"{seed:03}.png", draw("disc", 50 + seed))
        write(root / "tube/test/scratches" / f"{seed:03}.png", draw("disc", 60 + seed, defect=True))
        write(root / "tube/ground_truth/scratches" / f"{seed:03}_mask.png", mask())


def btad(root: Path) -> None:
    for seed in range(6):
        write(root / "01/train/ok" / f"{seed:04}.bmp", draw("disc", seed))
    for seed in range(2):
        write(root / "01/test/ok" / f"{seed:04}.bmp", draw("disc", 50 + seed))
        write(root / "01/test/ko" / f"{seed:04}.bmp", draw("disc", 60 + seed, defect=True))
        write(root / "01/ground_truth/ko" / f"{seed:04}.png", mask())


def visa(root: Path) -> None:
    """Masks hold the number of the defect, not 255; which images train is in the table alone."""
    rows = []
    for seed in range(9):
        name = f"candle/Data/Images/Normal/{seed:04}.JPG"
        write(root / name, draw("disc", seed))
        rows.append(("candle", "train" if seed % 3 else "test", "normal", name, ""))
    for seed in range(2):
        name, found = f"candle/Data/Images/Anomaly/{seed:03}.JPG", f"candle/Data/Masks/Anomaly/{seed:03}.png"
        write(root / name, draw("disc", 60 + seed, defect=True))
        write(root / found, mask(value=1))
        rows.append(("candle", "test", "anomaly", name, found))
    (root / "split_csv").mkdir()
    with (root / "split_csv/1cls.csv").open("w", newline="") as lines:
        csv.writer(lines).writerows([("object", "split", "label", "image", "mask"), *rows])


def loco(root: Path) -> None:
    for seed in range(6):
        write(root / "box/train/good" / f"{seed:03}.png", draw("disc", seed))
    for seed in range(2):
        write(root / "box/validation/good" / f"{seed:03}.png", draw("disc", 40 + seed))
        write(root / "box/test/good" / f"{seed:03}.png", draw("disc", 50 + seed))
        write(root / "box/test/logical_anomalies" / f"{seed:03}.png", draw("disc", 60 + seed, defect=True))
        for part, x in enumerate((10, 70)):
            write(root / "box/ground_truth/logical_anomalies" / f"{seed:03}" / f"{part:03}.png", mask(x))


BUILDERS: dict[str, Callable[[Path], None]] = {"mvtec": mvtec, "btad": btad, "visa": visa, "loco": loco}


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    BUILDERS[request.param](tmp_path)
    return str(request.param)


def test_layout_is_recognised_and_read(layout: str, tmp_path: Path) -> None:
    assert recognise(tmp_path) == layout
    (product,) = read_layout(tmp_path)
    good = [image for image in product.test if image.defect is None]
    defective = [image for image in product.test if image.defect is not None]
    assert (len(product.train), len(defective)) == (6, 2)
    assert len(good) == (3 if layout == "visa" else 2)
    assert not set(product.train) & {image.path for image in product.test}
    assert product.has_masks
    assert product.has_regions == (layout != "loco")
    for image in defective:
        assert read_mask(image.masks, (SIDE, SIDE)).sum() == (200 if layout == "loco" else 100)
    assert not read_mask(good[0].masks, (SIDE, SIDE)).any()
    assert [len(images) for images in training_images(tmp_path)[0].values()] == [6]


@pytest.mark.parametrize("layout", ["btad", "loco"], indirect=True)
def test_evaluate_any_layout_gives_figures_and_no_aupro_for_loco(layout: str, tmp_path: Path) -> None:
    options = EvaluationOptions(mode="oracle", head="prototype", profile="fast")
    (figures,) = evaluate(tmp_path, options, FakeEngine())["products"].values()
    assert figures["image_auroc"] is not None
    assert figures["pixel_auroc"] is not None
    assert (figures["aupro"] is None) == (layout == "loco")


def test_layout_named_is_not_guessed(tmp_path: Path) -> None:
    mvtec(tmp_path)
    with pytest.raises(UsageError, match=r"no image in .*train/ok"):
        read_layout(tmp_path, layout="btad")
    with pytest.raises(UsageError, match=r"There is no .*1cls\.csv"):
        read_layout(tmp_path, layout="visa")
    with pytest.raises(UsageError, match="choose mvtec, btad, visa, loco"):
        read_layout(tmp_path, layout="coco")


def test_visa_missing_files_and_columns_are_named(tmp_path: Path) -> None:
    visa(tmp_path)
    (tmp_path / "candle/Data/Masks/Anomaly/000.png").unlink()
    with pytest.raises(UsageError, match="1 files of candle"):
        read_layout(tmp_path)
    with pytest.raises(UsageError, match=r"no product cashew .*; the products are candle"):
        read_layout(tmp_path, ("cashew",))
    (tmp_path / "split_csv/1cls.csv").write_text("object,split\n")
    with pytest.raises(UsageError, match="needs the columns"):
        read_layout(tmp_path)


def test_a_bmp_is_read_to_the_same_pixels(tmp_path: Path) -> None:
    pixels = draw("plate", 3)
    write(tmp_path / "a.bmp", pixels[..., ::-1])
    assert (decode(ImageSource("a", path=tmp_path / "a.bmp").read(), DecodeLimits()) == pixels).all()
    (tmp_path / "b.bmp").write_bytes(b"BM and nothing else")
    assert ImageSource("b", path=tmp_path / "b.bmp").read() == b"BM and nothing else"


def test_an_unreadable_mask_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.png").write_bytes(b"no image")
    with pytest.raises(UsageError, match=r"m\.png is no image"):
        read_mask([tmp_path / "m.png"], (SIDE, SIDE))
