"""Frames that a camera may have kept while the broker was away."""

from __future__ import annotations

import pytest

from inspector.stream.outage import LONGEST_NS, PAUSE_NS, OutageDoubt

MS = 1_000_000


def test_doubts_nothing_without_an_outage() -> None:
    doubt = OutageDoubt()
    assert not any(doubt.doubts(at * MS) for at in (0, 1, 2, 90))


@pytest.mark.parametrize("kept", [1, 2, 7])
def test_doubts_frames_that_come_together_until_a_pause(kept: int) -> None:
    doubt = OutageDoubt()
    doubt.begin()
    burst = [5_000 * MS + number * MS for number in range(kept)]
    assert all(doubt.doubts(at) for at in burst)
    assert not doubt.doubts(burst[-1] + PAUSE_NS)
    assert not doubt.doubts(burst[-1] + PAUSE_NS + MS)


def test_doubts_the_first_frame_however_late_it_comes() -> None:
    doubt = OutageDoubt()
    doubt.begin()
    assert doubt.doubts(60_000 * MS)


def test_doubts_a_fast_camera_for_a_second_at_most() -> None:
    doubt = OutageDoubt()
    doubt.begin()
    period = PAUSE_NS // 2
    answers = [doubt.doubts(number * period) for number in range(2 * LONGEST_NS // period)]
    assert answers == [number * period < LONGEST_NS for number in range(len(answers))]


def test_doubts_again_after_the_next_outage() -> None:
    doubt = OutageDoubt()
    doubt.begin()
    assert [doubt.doubts(0), doubt.doubts(PAUSE_NS)] == [True, False]
    doubt.begin()
    assert doubt.doubts(2 * PAUSE_NS)


def test_frames_from_the_brokers_store_do_not_end_the_doubt_about_the_camera() -> None:
    doubt = OutageDoubt()
    doubt.begin()
    assert all(doubt.doubts(at, is_from_store=True) for at in (0, PAUSE_NS, 2 * LONGEST_NS))
    came_back = 2 * LONGEST_NS + PAUSE_NS
    assert [doubt.doubts(came_back + number * MS) for number in range(4)] == [True] * 4, "kept by the camera"
    assert not doubt.doubts(came_back + 3 * MS + PAUSE_NS)
