"""An evaluation whose report can't be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from inspector.config.loading import parse
from inspector.errors import UsageError
from inspector.operation import folder_evaluation
from inspector.operation.folder_evaluation import EvaluationRequest, evaluate_folder
from tests.unit.drawings import FakeEngine, draw, encode


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One product: eight good images to learn, two to test."""
    for number in range(10):
        folder = tmp_path / "disc" / ("train/good" if number < 8 else "test/good")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(encode(draw("disc", number)))
    return tmp_path


def test_evaluate_folder_keeps_its_figures_where_the_report_cant_be_written(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_evaluation, "engine_of", lambda _config: _Opened())
    request = EvaluationRequest(root=root, profile="fast", page=Path("/dev/full"))
    done = evaluate_folder(parse({}, None), request, lambda *_: None)
    assert done.page_fault.startswith("The report /dev/full can't be written (No space left on device)")
    assert list(done.figures["products"]) == ["disc"]


def test_evaluate_folder_refuses_a_folder_as_report_before_any_work(root: Path) -> None:
    with pytest.raises(UsageError, match="is a folder; name a file for the report"):
        evaluate_folder(parse({}, None), EvaluationRequest(root=root, page=root), lambda *_: None)


class _Opened(FakeEngine):
    def __enter__(self) -> FakeEngine:
        return self

    def __exit__(self, *_: object) -> None:
        return None
