"""A camera that repeats itself is told at the beginning and at the end of each run, other cameras beside it or not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.stream.repetition import FEWEST, LONGEST_CYCLE, Repetition, RepetitionWatch, print_of


def test_repetition_begins_once_and_ends_with_the_first_other_frame() -> None:
    watch = RepetitionWatch()
    said = [watch.note("cam1", sha256) for sha256 in ["a"] * 200 + ["b"] * FEWEST + ["c"]]
    assert [each for each in said if each is not None] == [
        Repetition("a", FEWEST, is_over=False),
        Repetition("a", 200, is_over=True),
        Repetition("b", FEWEST, is_over=False),
        Repetition("b", FEWEST, is_over=True),
    ]
    assert said.index(Repetition("a", FEWEST, is_over=False)) == FEWEST - 1
    assert said.index(Repetition("a", 200, is_over=True)) == 200


def test_repetition_of_fewer_or_with_others_between_is_none() -> None:
    watch = RepetitionWatch()
    frames = (["a"] * (FEWEST - 1) + ["b"]) * 20
    assert [watch.note("cam1", sha256) for sha256 in frames] == [None] * len(frames)


def test_repetition_of_one_camera_is_found_among_frames_of_another() -> None:
    watch = RepetitionWatch()
    said = []
    for number in range(FEWEST):
        said.append(watch.note("frozen", "a"))
        assert watch.note("alive", str(number)) is None
    assert said[-1] == Repetition("a", FEWEST, is_over=False)


@pytest.mark.parametrize("pictures", range(2, LONGEST_CYCLE + 1))
def test_repetition_of_a_few_pictures_in_turn_begins_when_each_has_come_five_times(pictures: int) -> None:
    watch = RepetitionWatch()
    said = [watch.note("cam1", str(number % pictures)) for number in range(100)]
    begin = FEWEST * pictures - 1
    first = Repetition(str(begin % pictures), begin + 1, is_over=False, pictures=pictures)
    assert [each for each in said if each is not None] == [first]
    assert said.index(first) == begin
    assert watch.current("cam1") == Repetition(str(99 % pictures), 100, is_over=False, pictures=pictures)
    assert watch.note("cam1", "other") == Repetition(str(99 % pictures), 100, is_over=True, pictures=pictures)
    assert watch.current("cam1") is None


def test_repetition_of_more_pictures_in_turn_is_none() -> None:
    watch = RepetitionWatch()
    assert {watch.note("cam1", str(number % (LONGEST_CYCLE + 1))) for number in range(200)} == {None}


@given(st.integers(0, 29), st.integers(0, 39), st.integers(0, 2), st.integers(1, 255))
def test_print_of_pixels_changes_with_any_pixel(row: int, column: int, channel: int, change: int) -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (30, 40, 3), np.uint8)
    other = pixels.copy()
    other[row, column, channel] ^= change
    assert print_of(pixels) == print_of(pixels.copy())
    assert print_of(pixels) != print_of(other)


def test_print_of_pixels_tells_places_and_sizes_apart() -> None:
    plain = np.zeros((60, 60, 3), np.uint8)
    shown = []
    for top in range(0, 50, 4):
        picture = plain.copy()
        picture[top : top + 10, 20:30] = 200
        shown.append(print_of(picture))
    shown += [print_of(plain), print_of(plain.reshape(30, 120, 3))]
    assert len(set(shown)) == len(shown)


@given(st.lists(st.tuples(st.sampled_from("xy"), st.sampled_from("ab")), max_size=200))
def test_repetition_beginnings_and_ends_take_turns(frames: list[tuple[str, str]]) -> None:
    watch = RepetitionWatch()
    is_open = {"x": False, "y": False}
    for camera, sha256 in frames:
        said = watch.note(camera, sha256)
        if said is not None:
            assert said.is_over == is_open[camera]
            assert said.count >= FEWEST
            is_open[camera] = not said.is_over
