"""The evaluation's HTML: whole in itself, true to its figures, and written in every mode."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from inspector.evaluation.evaluate import Evaluation, EvaluationOptions, examine
from inspector.reports.evaluation import WORST, evaluation_html
from tests.unit.drawings import FakeEngine, draw, encode


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """Discs whose defects are found, but for eight good pictures that are called defective."""
    root = tmp_path_factory.mktemp("labelled")
    for seed in range(8):
        write(root / "disc/train/good" / f"{seed}.png", encode(draw("disc", seed)))
        write(root / "disc/test/<clean>" / f"{seed}.png", encode(draw("disc", 70 + seed)))
    for seed in range(3):
        write(root / "disc/test/good" / f"{seed}.png", encode(draw("disc", 50 + seed)))
        write(root / "disc/test/spot" / f"{seed}.png", encode(draw("disc", 90 + seed, defect=True)))
    write(root / "disc/test/good/bad.png", encode(draw("disc", 99, defect=True)))
    return examine(root, EvaluationOptions(mode="oracle", head="prototype", profile="fast"), FakeEngine())


def test_outcome_the_worst_come_first(evaluation: Evaluation) -> None:
    outcome = evaluation.outcome("disc", 4)
    assert [case.path.name for case in outcome.rejected] == ["bad.png"]
    levels = [case.level for case in outcome.missed]
    assert levels == sorted(outcome.defective["<clean>"])[:4]
    assert all(case.defect == "<clean>" and case.by == "disc" for case in outcome.missed)
    assert all(case.heat_map.max() >= 128 for case in (*outcome.missed, *outcome.rejected))
    assert len(outcome.good) == 4
    assert len(outcome.defective["spot"]) == 3


def test_report_holds_its_pictures_and_figures_and_loads_nothing(evaluation: Evaluation) -> None:
    html = evaluation_html(evaluation, "Discs & more")
    assert html.count('src="data:image/jpeg;base64,') == 2 * (WORST + 1)
    assert set(re.findall(r"""\ssrc=["']([^"']{5})""", html)) == {"data:"}
    assert all(target.startswith("#") for target in re.findall(r'href="([^"]*)"', html))
    assert "&lt;clean&gt;" in html
    assert "<clean>" not in html
    assert "8 of 11" in html
    assert f"the {WORST} lowest of 8" in html
    assert html.count('<svg class="chart"') == 2


def test_report_of_an_image_that_is_gone_has_its_name_still(evaluation: Evaluation) -> None:
    lost = evaluation.outcome("disc", 1).rejected[0].path
    payload = lost.read_bytes()
    lost.unlink()
    try:
        html = evaluation_html(evaluation, "Discs")
    finally:
        lost.write_bytes(payload)
    assert html.count('src="data:image/jpeg;base64,') == 2 * WORST
    assert "good/bad.png" in html
