"""Arrays in a temporary file: they come back as they were, and nothing is left behind."""

from __future__ import annotations

import contextlib
import gc
from pathlib import Path

import numpy as np
import pytest

from inspector.training.dataset.spill import Spill


def test_spill_gives_back_what_was_appended(tmp_path: Path) -> None:
    kept = Spill(tmp_path)
    arrays = [np.arange(12, dtype=np.uint8).reshape(3, 4), np.ones((2, 5), np.float16), np.zeros((0, 3), np.int64)]
    for each in arrays:
        kept.append(each)
    assert len(kept) == 3
    for found, each in zip(kept, arrays, strict=True):
        assert found.dtype == each.dtype
        np.testing.assert_array_equal(found, each)
    np.testing.assert_array_equal(kept[-2], arrays[1])
    assert [each.shape for each in kept[0:2]] == [(3, 4), (2, 5)]
    with pytest.raises(IndexError):
        kept[3]


def test_spill_is_a_copy_both_ways(tmp_path: Path) -> None:
    kept, array = Spill(tmp_path), np.zeros(4, np.uint8)
    kept.append(array)
    array[:] = 9
    kept[0][:] = 5
    np.testing.assert_array_equal(kept[0], np.zeros(4))


def test_spill_without_some_shares_the_file_and_outlives_the_whole(tmp_path: Path) -> None:
    kept = Spill(tmp_path)
    for number in range(5):
        kept.append(np.full(3, number))
    fewer = kept.without(frozenset({1, 4}))
    del kept
    gc.collect()
    assert [int(each[0]) for each in fewer] == [0, 2, 3]


def open_below(folder: Path) -> list[str]:
    """What this process holds open of a folder, also if it is deleted. Threads of other tests hold other files."""
    held = []
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            held.append(str(each.readlink()))
    return [name for name in held if name.startswith(str(folder))]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc")
def test_spill_leaves_no_file_and_no_open_descriptor(tmp_path: Path) -> None:
    kept = Spill(tmp_path / "new")
    kept.append(np.zeros(10))
    assert len(open_below(tmp_path / "new")) == 1
    assert list((tmp_path / "new").iterdir()) == []
    del kept
    gc.collect()
    assert open_below(tmp_path / "new") == []
