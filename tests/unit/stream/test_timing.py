"""How old a frame may be taken for, and by when it must be decided."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from inspector.config.line_sections import CameraSection, GateSection
from inspector.domain import Action, Delivery, Position, TimeSource
from inspector.stream.timing import overtaken_times, times_of

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MS = 1_000_000
RECEIVED_NS = 10_000 * MS


def camera(clock: str = "untrusted") -> CameraSection:
    return CameraSection(name="cam1", on_unjudged=Action.REJECT, clock=clock, max_skew_ms=1000)


def gate(match: str = "trigger_id") -> GateSection:
    return GateSection(name="gate1", cameras=("cam1",), window_ms=150, reserve_ms=10, match=match)


def delivery(age_bound_ms: float | None, *, backlog: bool = False, may_have_waited: bool = False) -> Delivery:
    not_before_ns = None if age_bound_ms is None else RECEIVED_NS - int(age_bound_ms * MS)
    return Delivery(
        Position("s", 1, 1),
        "cam1",
        b"x",
        {},
        NOW,
        RECEIVED_NS,
        backlog=backlog,
        not_before_ns=not_before_ns,
        may_have_waited=may_have_waited,
    )


@pytest.mark.parametrize("age_bound_ms", [None, 140, 700, 3_600_000])
@pytest.mark.parametrize("match", ["trigger_id", "single_in_flight"])
def test_times_of_a_frame_whose_age_leaves_no_time_are_late(match: str, age_bound_ms: float | None) -> None:
    assert times_of(delivery(age_bound_ms), None, camera(), gate(match)).is_late


@pytest.mark.parametrize(("age_bound_ms", "is_late"), [(99, False), (100, True), (139, True)])
def test_times_of_a_frame_that_leaves_no_time_for_the_way_to_the_plc_are_late(age_bound_ms: int, is_late: bool) -> None:
    far = gate().model_copy(update={"transport_ms": 40.0})
    assert times_of(delivery(age_bound_ms), None, camera(), far).is_late is is_late


def test_times_of_a_frame_that_waited_in_the_broker_are_late() -> None:
    assert times_of(delivery(1, backlog=True), None, camera(), gate()).is_late


def test_times_at_a_gate_of_one_part_in_flight_count_from_the_bound() -> None:
    times = times_of(delivery(40), None, camera(), gate("single_in_flight"))
    assert not times.is_late
    assert times.act_before_ns == RECEIVED_NS + 110 * MS
    assert times.act_before == NOW + timedelta(milliseconds=110)


def test_times_at_a_gate_of_triggers_count_from_receipt_while_markers_come_on_time() -> None:
    assert times_of(delivery(50), None, camera(), gate()).act_before_ns == RECEIVED_NS + 150 * MS
    assert times_of(delivery(90), None, camera(), gate()).act_before_ns == RECEIVED_NS + 110 * MS, "one was slow"


def test_times_at_a_gate_of_triggers_count_from_a_bound_that_markers_left_behind() -> None:
    wide = GateSection(name="gate1", cameras=("cam1",), window_ms=3000, reserve_ms=10)
    assert times_of(delivery(500), None, camera(), wide).act_before_ns == RECEIVED_NS + 3000 * MS
    assert times_of(delivery(700), None, camera(), wide).act_before_ns == RECEIVED_NS + 2800 * MS, "it waited 200 ms"
    assert times_of(delivery(1001), None, camera(), wide).act_before_ns == RECEIVED_NS + 1999 * MS


def test_times_of_a_trusted_clock_count_from_the_capture() -> None:
    times = times_of(delivery(40), NOW - timedelta(milliseconds=30), camera("trusted"), gate("single_in_flight"))
    assert times.source is TimeSource.CAMERA
    assert times.act_before_ns == RECEIVED_NS + 120 * MS
    assert times.clock_fault is None


def test_times_of_a_trusted_clock_far_behind_make_the_frame_late_and_say_so() -> None:
    times = times_of(delivery(1), NOW - timedelta(hours=1), camera("trusted"), gate())
    assert times.is_late
    assert times.source is TimeSource.RECEIVED
    assert times.clock_fault is not None
    assert times.clock_fault.startswith("captured-at of its frame lies 3,600.0 s back, more than max_skew_ms allows")


def test_times_of_a_trusted_clock_without_a_time_count_from_receipt_and_say_so() -> None:
    times = times_of(delivery(40), None, camera("trusted"), gate("single_in_flight"))
    assert times.source is TimeSource.RECEIVED
    assert times.act_before_ns == RECEIVED_NS + 110 * MS
    assert times.clock_fault is not None
    assert "no usable captured-at" in times.clock_fault
    assert times_of(delivery(40), None, camera(), gate()).clock_fault is None


@pytest.mark.parametrize("match", ["trigger_id", "single_in_flight"])
@pytest.mark.parametrize("ahead_ms", [None, 5, 500, 3_600_000])
@pytest.mark.parametrize("clock", ["trusted", "untrusted"])
def test_times_of_a_frame_that_its_camera_may_have_kept_are_late_without_a_time_that_is_used(
    clock: str, ahead_ms: float | None, match: str
) -> None:
    claimed = None if ahead_ms is None else NOW + timedelta(milliseconds=ahead_ms)
    kept = delivery(1, may_have_waited=True)
    assert times_of(kept, claimed, camera(clock), gate(match)).is_late


def test_times_of_a_frame_that_its_camera_may_have_kept_count_from_a_trusted_capture() -> None:
    captured_at = NOW - timedelta(milliseconds=30)
    times = times_of(delivery(40, may_have_waited=True), captured_at, camera("trusted"), gate("single_in_flight"))
    assert not times.is_late
    assert times.act_before_ns == RECEIVED_NS + 120 * MS


def test_times_of_a_camera_without_a_gate_do_not_ask_whether_it_kept_the_frame() -> None:
    alone = camera().model_copy(update={"window_ms": 200.0})
    assert not times_of(delivery(None, may_have_waited=True), None, alone, None).is_late


@pytest.mark.parametrize(("ahead_ms", "is_told"), [(5, False), (500, True), (3_600_000, True)])
def test_times_of_a_trusted_clock_ahead_are_counted_from_receipt(ahead_ms: float, is_told: bool) -> None:
    times = times_of(delivery(1), NOW + timedelta(milliseconds=ahead_ms), camera("trusted"), gate())
    assert not times.is_late
    assert times.source is TimeSource.RECEIVED
    assert times.act_before_ns == RECEIVED_NS + 150 * MS
    assert (times.clock_fault is not None) == is_told


def test_times_of_a_camera_without_a_window_have_no_limit() -> None:
    times = times_of(delivery(None), None, camera(), None)
    assert times.act_before is None
    assert not times.is_late


@pytest.mark.parametrize(("earlier_ms", "left_ms", "is_late"), [(60, 90, False), (139, 11, False), (140, 10, True)])
def test_overtaken_times_count_from_the_frame_of_the_part_before(earlier_ms: int, left_ms: int, is_late: bool) -> None:
    frame = delivery(1)
    times = overtaken_times(times_of(frame, None, camera(), gate()), frame, gate(), RECEIVED_NS - earlier_ms * MS)
    assert times.act_before_ns == RECEIVED_NS + left_ms * MS
    assert times.act_before == NOW + timedelta(milliseconds=left_ms)
    assert times.is_late == is_late


def test_overtaken_times_without_an_earlier_frame_are_late() -> None:
    frame = delivery(1)
    assert overtaken_times(times_of(frame, None, camera(), gate()), frame, gate(), None).is_late


def test_overtaken_times_never_give_more_time_than_the_bound_of_the_markers() -> None:
    frame, single = delivery(60), gate("single_in_flight")
    times = times_of(frame, None, camera(), single)
    assert overtaken_times(times, frame, single, RECEIVED_NS - 20 * MS) == times
