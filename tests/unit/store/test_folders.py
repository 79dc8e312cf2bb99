"""File names from cameras stay in their folder, files are whole, folders stay within their bound."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.errors import StateUnusable
from inspector.store.pictures.folders import BoundedFolder, safe_name, write_whole


@given(st.text())
def test_safe_name_of_anything_is_one_plain_file_name(name: str) -> None:
    safe = safe_name(name)
    assert Path(safe).name == safe
    assert safe not in {"", ".", ".."}
    assert safe.isascii()
    assert len(safe) <= 64
    assert safe_name(safe) == safe


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "", ".", "..", "a\x00b", "x" * 300])
def test_safe_name_of_a_path_is_no_path(name: str) -> None:
    assert "/" not in safe_name(name)
    assert safe_name(name) != name


def test_safe_name_of_different_names_differs() -> None:
    assert safe_name("a/b") != safe_name("a_b") != safe_name("a?b")


def test_write_whole_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    write_whole(tmp_path / "deep" / "file", b"one")
    write_whole(tmp_path / "deep" / "file", b"two", durable=True)
    assert (tmp_path / "deep" / "file").read_bytes() == b"two"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["file"]


def test_write_whole_on_a_full_disk_keeps_the_old_file_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_whole(tmp_path / "file", b"old")
    with monkeypatch.context() as patched:
        patched.setattr("inspector.store.pictures.folders.os.fsync", full)
        with pytest.raises(StateUnusable, match="No space left"):
            write_whole(tmp_path / "file", b"new", durable=True)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"old")]


def test_bounded_folder_beyond_its_bound_removes_the_oldest(tmp_path: Path) -> None:
    folder = BoundedFolder(tmp_path, max_bytes=300)
    for number in range(5):
        folder.add(tmp_path / f"day{number}" / "cam" / "file", bytes(100))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["day2", "day3", "day4"]
    assert folder.size_bytes == 300


def test_bounded_folder_opened_again_counts_what_is_there_by_age(tmp_path: Path) -> None:
    for age, name in enumerate(["new", "middle", "old"]):
        write_whole(tmp_path / name, bytes(100))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    write_whole(tmp_path / "latest" / "cam.jpg", bytes(1000))
    (tmp_path / "killed.partial").write_bytes(b"half")
    folder = BoundedFolder(tmp_path, max_bytes=300, spare=tmp_path / "latest")
    assert folder.size_bytes == 300
    folder.add(tmp_path / "newest", bytes(100))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "middle", "new", "newest"]


def test_bounded_folder_of_one_file_larger_than_the_bound_keeps_it(tmp_path: Path) -> None:
    folder = BoundedFolder(tmp_path, max_bytes=10)
    folder.add(tmp_path / "large", bytes(100))
    assert (tmp_path / "large").exists()


def test_bounded_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file")
    with pytest.raises(StateUnusable, match="can't be written"):
        BoundedFolder(tmp_path / "folder", max_bytes=10)
