"""An evaluation whose report can't be written."""

from __future__ import annotations

import errno
import os
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
    monkeypatch.setattr(folder_evaluation, "write_text", _on_a_full_disk)
    request = EvaluationRequest(root=root, profile="fast", page=root / "page.html")
    done = evaluate_folder(parse({}, None), request, lambda *_: None)
    assert done.page_fault.startswith(f"The report {root}/page.html can't be written (No space left on device)")
    assert list(done.figures["products"]) == ["disc"]


def _on_a_full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("kind", ["link", "device", "pipe"])
def test_evaluate_folder_refuses_what_is_no_file_as_report_before_any_work(root: Path, kind: str) -> None:
    (root / "link").symlink_to(root / "elsewhere.html")
    os.mkfifo(root / "pipe")
    page = Path("/dev/null") if kind == "device" else root / kind
    with pytest.raises(UsageError, match=f"is no file but a {kind}; name the file itself"):
        evaluate_folder(parse({}, None), EvaluationRequest(root=root, page=page), lambda *_: None)


def test_evaluate_folder_refuses_a_folder_as_report_before_any_work(root: Path) -> None:
    with pytest.raises(UsageError, match="is a folder; name a file for the report"):
        evaluate_folder(parse({}, None), EvaluationRequest(root=root, page=root), lambda *_: None)


class _Opened(FakeEngine):
    def __enter__(self) -> FakeEngine:
        return self

    def __exit__(self, *_: object) -> None:
        return None
