"""A camera that repeats itself is told at the beginning and at the end of each run, other cameras beside it or not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inspector.stream.repetition import FEWEST, Repetition, RepetitionWatch


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
