"""Ids, clocks and deadlines of a delivery, and faults in its metadata that never lose the frame."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.config.config import Config
from inspector.config.loading import parse
from inspector.domain import Delivery, GateState, Position, TimeSource
from inspector.stream.admission import Admission, Arrival, Repeat
from tests.unit.stream.conftest import START, admit

Make = Callable[..., Delivery]


@pytest.fixture
def admission(gated: Config) -> Admission:
    made = Admission(gated)
    made.assign({"pair": GateState("pair", epoch=3, last_trigger=16)}, {})
    return made


def arrive(admission: Admission, delivery: Delivery) -> Arrival:
    found = admit(admission, delivery)
    assert isinstance(found, Arrival)
    return found


def test_admit_frame_that_a_later_part_has_overtaken_is_as_old_as_the_part_before_it(
    admission: Admission, delivery: Make
) -> None:
    arrive(admission, delivery("left", at_ms=1000, headers={"trigger_id": 17}))
    arrive(admission, delivery("left", at_ms=1010, headers={"trigger_id": 19}))
    soon = arrive(admission, delivery("left", at_ms=1012, headers={"trigger_id": 18})).admitted
    assert (soon.is_late, soon.act_before_ns) == (False, 1050 * 1_000_000)
    arrive(admission, delivery("left", at_ms=1200, headers={"trigger_id": 21}))
    assert arrive(admission, delivery("left", at_ms=1210, headers={"trigger_id": 20})).admitted.is_late


@pytest.mark.parametrize(("captured_ms", "is_late"), [(1185, False), (1200, True), (1205, True)])
def test_admit_overtaken_frame_of_a_trusted_clock_keeps_a_time_of_capture_that_can_be_its_own(
    gated: Config, delivery: Make, captured_ms: int, is_late: bool
) -> None:
    cameras = tuple(each.model_copy(update={"clock": "trusted"}) for each in gated.camera)
    admission = Admission(gated.model_copy(update={"camera": cameras}))

    admission.assign({"pair": GateState("pair", epoch=3, last_trigger=18)}, {})

    def shown(trigger: int, at_ms: int, captured_ms: int) -> Arrival:
        at, captured_at = (START + timedelta(milliseconds=each) for each in (at_ms, captured_ms))
        headers = {"trigger_id": trigger, "captured_at": captured_at.isoformat()}
        return arrive(admission, delivery("left", at_ms=at_ms, received_at=at, headers=headers))

    shown(19, 1000, 995)
    shown(21, 1205, 1200)
    assert shown(20, 1210, captured_ms).admitted.is_late == is_late


def test_admit_frame_is_not_overtaken_by_another_camera(admission: Admission, delivery: Make) -> None:
    arrive(admission, delivery("left", at_ms=1000, headers={"trigger_id": 18}))
    behind = arrive(admission, delivery("right", at_ms=1040, headers={"trigger_id": 17})).admitted
    assert (behind.is_late, behind.act_before_ns) == (False, 1090 * 1_000_000)


def test_admit_gated_frame_has_its_deadline_from_receipt(admission: Admission, delivery: Make) -> None:
    admitted = arrive(admission, delivery("left", at_ms=1000, headers={"trigger_id": 17})).admitted
    assert admitted.act_before == START + timedelta(milliseconds=50)
    assert admitted.act_before_ns == 1050 * 1_000_000
    assert (admitted.key.epoch, admitted.time_source) == (3, TimeSource.RECEIVED)


def test_admit_trusted_capture_time_takes_what_passed_off_the_window(admission: Admission, delivery: Make) -> None:
    captured = START - timedelta(milliseconds=20)
    admitted = arrive(admission, delivery("solo", at_ms=1000, headers={"captured_at": captured.isoformat()})).admitted
    assert admitted.time_source is TimeSource.CAMERA
    assert admitted.act_before_ns == 1030 * 1_000_000


@pytest.mark.parametrize("skew_s", [-3600, 3600])
def test_admit_capture_time_beyond_the_skew_is_not_believed(admission: Admission, delivery: Make, skew_s: int) -> None:
    captured = START + timedelta(seconds=skew_s)
    admitted = arrive(admission, delivery("solo", headers={"captured_at": captured.isoformat()})).admitted
    assert (admitted.time_source, admitted.captured_at, admitted.fault) == (TimeSource.RECEIVED, START, None)


def test_admit_gate_that_needs_a_trigger_marks_a_frame_without(admission: Admission, delivery: Make) -> None:
    assert arrive(admission, delivery("left")).admitted.missing_trigger
    assert not arrive(admission, delivery("solo")).admitted.missing_trigger
    assert not arrive(admission, delivery("free")).admitted.missing_trigger


def test_admit_second_view_of_a_part_is_no_gap_and_no_reset(admission: Admission, delivery: Make) -> None:
    arrive(admission, delivery("left", headers={"trigger_id": 17}))
    arrive(admission, delivery("left", headers={"trigger_id": 18}))
    second = arrive(admission, delivery("right", headers={"trigger_id": 17}))
    assert (second.was_reset, second.skipped, second.admitted.key.epoch) == (False, 0, 3)
    assert not second.admitted.id_conflict, "another view of the part is no conflict"


def missed_at(made: Admission, gated: Config, now_ms: float, proven_ms: float | None) -> list[tuple[str, int, int]]:
    """Gate, epoch and trigger of the parts that count as missed at this time."""
    pair = next(gate for gate in gated.gate if gate.name == "pair")
    proven_ns = None if proven_ms is None else int(proven_ms * 1e6)
    missed = made.take_missed(pair, int(now_ms * 1e6), proven_ns, is_settled=True)
    return [(part.gate, part.epoch, part.trigger_id) for part in missed]


def test_admit_gap_names_the_missed_parts_of_the_gate_after_the_grace(
    admission: Admission, gated: Config, delivery: Make
) -> None:
    assert arrive(admission, delivery("left", headers={"trigger_id": 19}, at_ms=1000)).skipped == 2
    assert missed_at(admission, gated, 1049, 1049) == []
    assert missed_at(admission, gated, 1060, 1050) == [("pair", 3, 17), ("pair", 3, 18)]
    assert missed_at(admission, gated, 2000, 2000) == [], "each once"


def test_admit_frame_of_a_skipped_part_within_the_grace_is_no_miss(
    admission: Admission, gated: Config, delivery: Make
) -> None:
    arrive(admission, delivery("left", headers={"trigger_id": 19}, at_ms=1000))
    arrive(admission, delivery("left", headers={"trigger_id": 17}, at_ms=1010))
    assert missed_at(admission, gated, 2000, 2000) == [("pair", 3, 18)]


def test_admit_gap_waits_while_the_age_of_frames_can_not_be_proved_but_not_for_ever(
    admission: Admission, gated: Config, delivery: Make
) -> None:
    """A stopped broker or agent delivers later what was sent in time."""
    arrive(admission, delivery("left", headers={"trigger_id": 18}, at_ms=1000))
    assert missed_at(admission, gated, 5000, None) == []
    assert missed_at(admission, gated, 5000, 1020) == []
    assert missed_at(admission, gated, 12_000, None) == [("pair", 3, 17)]


def test_admit_gap_waits_for_the_camera_that_is_behind(admission: Admission, gated: Config, delivery: Make) -> None:
    """`left` lost part 17, and `right` shows it when `left` is 20 parts further."""
    arrive(admission, delivery("right", headers={"trigger_id": 16}, at_ms=1000))
    for trigger in range(18, 38):
        arrive(admission, delivery("left", headers={"trigger_id": trigger}, at_ms=1000))
    assert missed_at(admission, gated, 1001, 1001) == []
    arrive(admission, delivery("right", headers={"trigger_id": 17}, at_ms=1001))
    assert missed_at(admission, gated, 2000, 2000) == []


def test_admit_many_later_parts_of_all_cameras_end_the_grace(
    admission: Admission, gated: Config, delivery: Make
) -> None:
    for trigger in (*range(18, 33), 34):
        for camera in ("left", "right"):
            arrive(admission, delivery(camera, headers={"trigger_id": trigger}, at_ms=1000))
    assert missed_at(admission, gated, 1001, 1001) == [("pair", 3, 17)], "16 parts later, and 33 only just skipped"


def test_admit_trigger_beyond_the_modulus_is_a_fault_and_no_reset(gated: Config, delivery: Make) -> None:
    table = gated.model_dump(mode="json")
    for gate in table["gate"]:
        gate["trigger_modulus"] = 65536
    made = Admission(Config.model_validate(table))
    made.assign({"pair": GateState("pair", epoch=3, last_trigger=16)}, {})
    arrived = arrive(made, delivery("left", headers={"trigger_id": 70_000}))
    assert arrived.admitted.fault == "trigger-id 70000 is not below trigger_modulus 65536"
    assert (arrived.was_reset, arrived.skipped, arrived.admitted.key.trigger_id) == (False, 0, None)
    assert arrive(made, delivery("left", headers={"trigger_id": 17})).admitted.key.epoch == 3


def test_admit_camera_without_gate_invents_no_missed_parts(admission: Admission, delivery: Make) -> None:
    arrive(admission, delivery("free", headers={"trigger_id": 1}))
    found = arrive(admission, delivery("free", headers={"trigger_id": 5000}))
    assert (found.skipped, found.was_reset) == (0, False)


def test_admit_backlog_is_late_only_where_there_is_a_window(admission: Admission, delivery: Make) -> None:
    assert arrive(admission, delivery("left", headers={"trigger_id": 17}, backlog=True)).admitted.is_late
    assert not arrive(admission, delivery("free", backlog=True)).admitted.is_late


def test_admit_same_delivery_again_is_a_repeat(admission: Admission, delivery: Make) -> None:
    first = arrive(admission, delivery("left", headers={"trigger_id": 17}))
    again = admit(admission, delivery("left", headers={"trigger_id": 17}, redelivered=True, generation=2))
    assert again == Repeat(first.admitted.result_id)


@pytest.mark.parametrize(("mark", "is_simulated"), [("True", True), (" 1", True), ("FALSE", False), ("0", False)])
def test_admit_reads_the_mark_of_simulated_frames(
    admission: Admission, delivery: Make, mark: str, is_simulated: bool
) -> None:
    admitted = arrive(admission, delivery("free", headers={"simulated": mark})).admitted
    assert (admitted.simulated, admitted.fault) == (is_simulated, None)


def test_admit_simulated_frames_are_counted_apart_and_never_known_as_real_ones(
    admission: Admission, delivery: Make
) -> None:
    rehearsed = arrive(admission, delivery("left", headers={"trigger_id": 9000, "simulated": "true"}))
    again = arrive(admission, delivery("left", headers={"trigger_id": 1, "simulated": "true"}))
    real = arrive(admission, delivery("left", headers={"trigger_id": 17}))
    assert [(each.was_reset, each.skipped) for each in (rehearsed, again, real)] == [(False, 0)] * 3
    assert real.admitted.key.epoch == 3
    rehearsal_of_real = arrive(admission, delivery("left", headers={"trigger_id": 17, "simulated": "true"}))
    assert rehearsal_of_real.admitted.result_id != real.admitted.result_id


@pytest.mark.parametrize(
    ("headers", "word"),
    [
        ({"trigger_id": "-4"}, "trigger-id"),
        ({"trigger_id": "4.5"}, "trigger-id"),
        ({"trigger_id": "9" * 40}, "trigger-id"),
        ({"trigger_id": "٤٢"}, "trigger-id"),
        ({"captured_at": "yesterday"}, "captured-at"),
        ({"simulated": "maybe"}, "simulated"),
        ({"captured_at": "2026-03-01T12:00:00"}, "captured-at"),
        ({"captured_at": "9999-12-31T23:59:60Z"}, "captured-at"),
        ({"frame_id": "x" * 129}, "frame-id"),
        ({"part_id": "a\x07b"}, "part-id"),
        ({"x_property_fault": "40 properties"}, "40 properties"),
    ],
)
def test_admit_absurd_metadata_is_a_fault_not_a_loss(
    admission: Admission, delivery: Make, headers: dict[str, str], word: str
) -> None:
    fault = arrive(admission, delivery("free", headers=headers)).admitted.fault
    assert fault is not None
    assert word in fault


@pytest.mark.parametrize("name", ["frame_id", "trigger_id", "part_id", "captured_at", "product", "simulated"])
def test_admit_empty_metadata_are_absent(admission: Admission, delivery: Make, name: str) -> None:
    admitted = arrive(admission, delivery("free", headers={name: ""})).admitted
    assert (admitted.fault, admitted.key.trigger_id, admitted.time_source) == (None, None, TimeSource.RECEIVED)


@given(st.dictionaries(st.sampled_from(["frame-id", "trigger-id", "part-id", "captured-at", "product"]), st.text()))
def test_admit_any_metadata_is_admitted(properties: dict[str, str]) -> None:
    made = Admission(parse({"camera": [{"name": "c", "on_unjudged": "reject", "clock": "trusted"}]}, None))
    made.assign({}, {})
    assert isinstance(admit(made, Delivery(Position("s", 1, 1), "c", b"x", properties, START, 0)), Arrival)
