"""Late frames are judged only where no deadline of a live frame can suffer."""

from __future__ import annotations

from inspector.stream.spare_time import MARGIN, REMEMBERED, REST_S, SpareTime

MS = 1_000_000


def test_is_enough_before_any_live_frame_only_after_a_rest() -> None:
    spare = SpareTime(now_ns=0)
    assert not spare.is_enough(int(REST_S * 1e9) - 1)
    assert spare.is_enough(int(REST_S * 1e9))


def test_is_enough_while_live_frames_have_clearly_more_time_left_than_a_frame_takes() -> None:
    spare = SpareTime(0)
    spare.note_live(left_ns=int(MARGIN * 100 * MS), work_ns=100 * MS, now_ns=0)
    assert spare.is_enough(1)
    spare.note_live(left_ns=int(MARGIN * 100 * MS) - 1, work_ns=10 * MS, now_ns=0)
    assert not spare.is_enough(1), "the least of them counts"


def test_is_enough_counts_the_longest_late_frame_too() -> None:
    spare = SpareTime(0)
    spare.note_live(left_ns=300 * MS, work_ns=100 * MS, now_ns=0)
    assert spare.is_enough(1)
    spare.note_late(250 * MS)
    assert not spare.is_enough(1)


def test_is_enough_on_a_line_without_time_left_only_while_it_rests() -> None:
    spare = SpareTime(0)
    spare.note_live(left_ns=-5 * MS, work_ns=100 * MS, now_ns=10 * MS)
    assert not spare.is_enough(int(REST_S * 1e9))
    assert spare.is_enough(int(REST_S * 1e9) + 10 * MS)


def test_is_enough_while_late_frames_still_arrive_is_no_rest() -> None:
    spare = SpareTime(0)
    spare.note_arrival(int(REST_S * 1e9))
    assert not spare.is_enough(int(REST_S * 1e9))
    assert spare.is_enough(int(2 * REST_S * 1e9))


def test_is_enough_forgets_a_slow_frame_in_time() -> None:
    spare = SpareTime(0)
    spare.note_live(left_ns=-5 * MS, work_ns=900 * MS, now_ns=0)
    for _ in range(REMEMBERED):
        spare.note_live(left_ns=500 * MS, work_ns=20 * MS, now_ns=0)
    assert spare.is_enough(1)
