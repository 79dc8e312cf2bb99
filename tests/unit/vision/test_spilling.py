"""Bounded memory for prepared frames: the same pixels, wherever they lie."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from inspector.errors import EnrolmentError
from inspector.vision.spilling import SpilledPixels


def test_spilled_pixels_give_what_was_added_in_order() -> None:
    rng = np.random.default_rng(0)
    added = [rng.integers(0, 256, (4, 5 + number, 3), dtype=np.uint8) for number in range(6)]
    pixels = SpilledPixels(kept_bytes=added[0].nbytes + added[1].nbytes)
    for each in added:
        pixels.append(each)
    assert len(pixels) == 6
    for one, other in zip(pixels, added, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(pixels[-1], added[-1])
    np.testing.assert_array_equal(pixels[1:5][3], added[4])
    assert pixels[0] is added[0]
    with pytest.raises(IndexError):
        pixels[6]


def test_spilled_pixels_take_no_memory_beyond_their_bound() -> None:
    pixels = SpilledPixels(kept_bytes=1_000_000)
    tracemalloc.start()
    try:
        for number in range(100):
            pixels.append(np.full((100_000,), number, np.uint8))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 2_000_000
    assert [int(each[0]) for each in pixels] == list(range(100))


def test_spilled_pixels_full_disk_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(EnrolmentError, match=r"No space left on device.*TMPDIR"):
        SpilledPixels(kept_bytes=0).append(np.zeros((2, 2, 3), np.uint8))
