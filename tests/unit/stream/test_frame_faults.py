"""What people are told of a camera whose frames can't be judged: its beginning and end, and now and then in between."""

from __future__ import annotations

from inspector.domain import FrameFault
from inspector.stream.frame_faults import SOUND_IN_A_ROW, TOLD_AGAIN_NS, FaultReport, FaultWatch

STEP_NS = 50_000_000


def test_fault_is_told_at_once_then_once_a_minute_with_the_count_and_at_its_end() -> None:
    watch = FaultWatch()
    said = [watch.note("cam", FrameFault.DARK, number * STEP_NS) for number in range(2 * TOLD_AGAIN_NS // STEP_NS)]
    per_minute = TOLD_AGAIN_NS // STEP_NS
    told = [(number, report) for number, reports in enumerate(said) for report in reports]
    assert told == [
        (0, FaultReport(FrameFault.DARK, 1, is_over=False)),
        (per_minute, FaultReport(FrameFault.DARK, per_minute, is_over=False)),
    ]
    assert watch.current("cam") is FrameFault.DARK
    ends = [watch.note("cam", None, 2 * TOLD_AGAIN_NS) for _ in range(SOUND_IN_A_ROW)]
    assert ends == [[]] * (SOUND_IN_A_ROW - 1) + [[FaultReport(FrameFault.DARK, per_minute - 1, is_over=True)]]
    assert watch.current("cam") is None
    assert watch.note("cam", None, 2 * TOLD_AGAIN_NS) == []


def test_fault_that_comes_and_goes_is_told_no_more_often() -> None:
    watch = FaultWatch()
    told = []
    for number in range(TOLD_AGAIN_NS // STEP_NS):
        fault = FrameFault.BRIGHT if number // 10 % 2 else None
        told += watch.note("cam", fault, number * STEP_NS)
    assert [report.is_over for report in told] == [False, True]


def test_faults_of_one_camera_are_told_apart_and_other_cameras_are_not_mixed_in() -> None:
    watch = FaultWatch()
    assert watch.note("cam", FrameFault.DARK, 0) == [FaultReport(FrameFault.DARK, 1, is_over=False)]
    assert watch.note("cam", FrameFault.COVERED, 1) == [FaultReport(FrameFault.COVERED, 1, is_over=False)]
    assert watch.note("other", None, 2) == []
    assert watch.current("cam") is FrameFault.COVERED
    assert watch.current("other") is None
    ended = [watch.note("cam", None, 3) for _ in range(SOUND_IN_A_ROW)][-1]
    assert [report.fault for report in ended] == [FrameFault.COVERED, FrameFault.DARK]
