"""What the processes of a test session share is made once, and anew where making it failed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.shared import link_graphs, made_once


def test_made_once_by_two_at_a_time_is_made_by_one(tmp_path: Path) -> None:
    folder = tmp_path / "thing"
    makers: list[int] = []

    def make(number: int) -> None:
        folder.mkdir()  # fails where another one is at work
        makers.append(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: made_once(folder, lambda: make(number)), range(8)))
    assert len(makers) == 1


def test_made_once_that_failed_is_made_anew_in_an_empty_folder(tmp_path: Path) -> None:
    folder = tmp_path / "thing"

    def fail() -> None:
        folder.mkdir()
        (folder / "half").touch()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        made_once(folder, fail)
    made_once(folder, folder.mkdir)
    assert list(folder.iterdir()) == []


def test_link_graphs_brings_what_is_missing_and_nothing_half_written(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for name in ("a.onnx", "a.json", "b.onnx", ".c.onnx.12"):
        (source / name).write_text(name)
    target.mkdir()
    (target / "b.onnx").write_text("its own")
    link_graphs(source, target)
    assert {file.name: file.read_text() for file in target.iterdir()} == {
        "a.onnx": "a.onnx",
        "a.json": "a.json",
        "b.onnx": "its own",
    }
