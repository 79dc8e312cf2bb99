"""Labelled folders, and the figures made of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from inspector.errors import UsageError
from inspector.evaluation.evaluate import EvaluationOptions, evaluate
from inspector.evaluation.layouts import read_layout, read_mask
from inspector.training.enrol import Enrolment
from inspector.vision.engines.factory import create_engine
from tests.unit.drawings import FakeEngine, draw, encode

KEYS = {
    "n_train", "n_good", "n_defect", "image_auroc", "image_ap", "pixel_auroc", "aupro", "false_reject_share",
    "missed_defect_share", "threshold", "routing_accuracy_good", "routing_accuracy_defect", "by_defect", "enroll_s",
    "ms_per_image",
}  # fmt: skip


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two drawn products; only the disc has masks."""
    folder = tmp_path_factory.mktemp("labelled")
    for product in ("disc", "mesh"):
        for seed in range(8):
            write(folder / product / "train/good" / f"{seed:03}.png", encode(draw(product, seed)))
        for seed in range(4):
            write(folder / product / "test/good" / f"{seed:03}.png", encode(draw(product, 50 + seed)))
            bad, clean = draw(product, 90 + seed, defect=True), draw(product, 90 + seed)
            write(folder / product / "test/spot" / f"{seed:03}.png", encode(bad))
            if product == "disc":
                mask = ((np.abs(bad.astype(int) - clean).max(axis=2) > 30) * 255).astype(np.uint8)
                content = cv2.imencode(".png", mask)[1].tobytes()
                write(folder / product / "ground_truth/spot" / f"{seed:03}_mask.png", content)
    return folder


@pytest.fixture(scope="module")
def routed(root: Path) -> dict:
    return evaluate(root, EvaluationOptions(profile="standard"), FakeEngine())


def test_evaluate_has_the_contract_form(routed: dict) -> None:
    assert set(routed) >= {"mode", "head", "backbone", "engine", "products", "mean", "routing"}
    assert set(routed["products"]) == {"disc", "mesh"}
    for figures in routed["products"].values():
        assert set(figures) >= KEYS
        assert set(figures["ms_per_image"]) == {"p50", "p95"}
    assert set(routed["mean"]) == {"image_auroc", "image_ap", "pixel_auroc", "aupro"}
    assert set(routed["routing"]) == {
        "accuracy_good", "accuracy_defect", "unknown_auroc", "unknown_rate_good", "unknown_rate_defect",
        "categories_found", "purity", "nmi",
    }  # fmt: skip
    json.dumps(routed, allow_nan=False)


def test_evaluate_plain_defects_are_found_and_located(routed: dict) -> None:
    disc, mesh = routed["products"]["disc"], routed["products"]["mesh"]
    assert (disc["n_train"], disc["n_good"], disc["n_defect"]) == (8, 4, 4)
    assert disc["image_auroc"] == 1.0
    assert disc["aupro"] > 0.7
    assert disc["by_defect"]["spot"]["n"] == 4
    assert mesh["pixel_auroc"] is None
    assert mesh["aupro"] is None
    assert routed["mean"]["aupro"] == disc["aupro"]
    assert disc["routing_accuracy_good"] == 1.0
    assert routed["routing"]["accuracy_good"] == 1.0
    assert routed["routing"]["unknown_auroc"] > 0.5


def test_evaluate_oracle_has_no_routing(root: Path) -> None:
    found = evaluate(root, EvaluationOptions(products=("disc",), mode="oracle", profile="fast"), FakeEngine())
    assert list(found["products"]) == ["disc"]
    assert found["products"]["disc"]["routing_accuracy_good"] is None
    assert set(found["routing"].values()) == {None}


def test_evaluate_given_artifacts_fits_nothing(root: Path, enrolled: dict[str, Enrolment]) -> None:
    artifacts = {name: enrolled[name].artifact for name in ("disc", "mesh")}
    found = evaluate(root, EvaluationOptions(artifacts=artifacts), FakeEngine())
    assert found["products"]["disc"]["enroll_s"] is None
    assert found["products"]["disc"]["threshold"] == enrolled["disc"].manifest["threshold"]
    born = enrolled["disc"].manifest["calibration"]
    lax = born["median"] + 1e6 * (born["threshold"] - born["median"])
    moved = evaluate(root, EvaluationOptions(artifacts=artifacts, thresholds={"disc": lax}), FakeEngine())
    assert moved["products"]["disc"]["threshold"] == lax
    assert moved["products"]["disc"]["missed_defect_share"] == 1.0
    assert found["products"]["disc"]["missed_defect_share"] < 1.0
    with pytest.raises(UsageError, match="mesh is not enrolled"):
        evaluate(root, EvaluationOptions(artifacts={"disc": artifacts["disc"]}), FakeEngine())


def test_evaluate_unknown_mode_is_a_usage_error(root: Path) -> None:
    with pytest.raises(UsageError, match="choose oracle, routed or unlabelled"):
        evaluate(root, EvaluationOptions(mode="guess"), FakeEngine())


def test_evaluate_reports_progress(root: Path) -> None:
    phases = set()
    options = EvaluationOptions(products=("disc",), profile="fast")
    evaluate(root, options, FakeEngine(), lambda phase, _done, _total: phases.add(phase))
    assert "test disc" in phases
    assert "enrol disc: read" in phases


def test_read_layout_names_every_fault(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no folder"):
        read_layout(tmp_path / "none")
    with pytest.raises(UsageError, match="No product is in"):
        read_layout(tmp_path)
    (tmp_path / "a/train/good").mkdir(parents=True)
    shutil.copytree(root / "disc/train", tmp_path / "b/train")
    with pytest.raises(UsageError, match=r"a/train/good.*b/test"):
        read_layout(tmp_path)
    with pytest.raises(UsageError, match=r"There is no product nothing in .*; the products are disc"):
        read_layout(root, ("disc", "nothing"))


def test_read_mask_of_another_size_is_refused(root: Path) -> None:
    mask = next((root / "disc/ground_truth/spot").iterdir())
    assert read_mask([mask], (96, 96)).any()
    with pytest.raises(UsageError, match="its image 50x40"):
        read_mask([mask], (40, 50))


@pytest.mark.data
@pytest.mark.timeout(600)
def test_evaluate_bottle_is_found_and_located(inspector_data: Path, engine_cache: Path) -> None:
    engine = create_engine("onnxruntime", engine_cache)
    found = evaluate(inspector_data, EvaluationOptions(products=("bottle", "cookie")), engine)
    bottle = found["products"]["bottle"]
    assert bottle["image_auroc"] >= 0.99
    assert bottle["aupro"] >= 0.94
    assert found["routing"]["accuracy_good"] >= 0.99
    assert found["routing"]["accuracy_defect"] >= 0.95
