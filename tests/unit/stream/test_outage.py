"""Frames that a camera may have kept before its broker got them."""

from __future__ import annotations

import pytest

from inspector.config.line_sections import GateSection
from inspector.stream.outage import (
    LONGEST_NS,
    LONGEST_WITH_TRIGGER_NS,
    PAUSE_NS,
    SLOW_NS_PER_BYTE,
    OutageDoubt,
)

MS = 1_000_000
SMALL = 100_000
LARGE = 5_600_000
GIGABIT_NS_PER_BYTE = 8
FAST_ETHERNET_NS_PER_BYTE = 80


def gate(match: str = "trigger_id", window_ms: float = 1000) -> GateSection:
    return GateSection(name="gate1", cameras=("cam1",), window_ms=window_ms, match=match)


def begun(match: str = "trigger_id", window_ms: float = 1000) -> OutageDoubt:
    doubt = OutageDoubt(gate(match, window_ms))
    doubt.begin(is_first=False)
    return doubt


def test_doubts_nothing_without_a_connection() -> None:
    doubt = OutageDoubt(gate())
    assert not any(doubt.doubts(at * MS, SMALL) for at in (0, 1, 2, 90))


@pytest.mark.parametrize("kept", [1, 2, 7])
def test_doubts_frames_that_come_together_until_a_pause(kept: int) -> None:
    doubt = begun()
    burst = [5_000 * MS + number * MS for number in range(kept)]
    assert all(doubt.doubts(at, SMALL) for at in burst)
    assert not doubt.doubts(burst[-1] + PAUSE_NS, SMALL)
    assert not doubt.doubts(burst[-1] + PAUSE_NS + MS, SMALL)


def test_pause_at_a_gate_of_one_part_in_flight_is_half_of_its_window() -> None:
    doubt = begun("single_in_flight", window_ms=1000)
    assert all(doubt.doubts(at * MS, SMALL) for at in (0, 40, 240, 739))
    assert not doubt.doubts(1239 * MS, SMALL)


@pytest.mark.parametrize("match", ["single_in_flight", "trigger_id"])
def test_first_connection_of_the_process_is_not_doubted(match: str) -> None:
    doubt = OutageDoubt(gate(match))
    doubt.begin(is_first=True)
    assert not doubt.doubts(0, SMALL)
    doubt.begin(is_first=False)
    assert doubt.doubts(MS, SMALL)


def test_doubts_the_first_frame_however_late_it_comes() -> None:
    assert begun().doubts(60_000 * MS, SMALL)


@pytest.mark.parametrize("ns_per_byte", [GIGABIT_NS_PER_BYTE, FAST_ETHERNET_NS_PER_BYTE])
def test_doubts_large_frames_that_lie_apart_by_their_transfer(ns_per_byte: int) -> None:
    doubt = begun("single_in_flight")
    assert all(doubt.doubts(number * LARGE * ns_per_byte, LARGE) for number in range(12))


def test_trusts_a_large_frame_after_a_pause_longer_than_its_transfer() -> None:
    doubt = begun()
    assert [doubt.doubts(at, LARGE) for at in (0, 45 * MS, 45 * MS + LARGE * SLOW_NS_PER_BYTE)] == [True, True, False]


def test_trusts_a_large_frame_after_a_window_because_its_transfer_must_be_shorter() -> None:
    doubt = begun(window_ms=200)
    assert [doubt.doubts(at, LARGE) for at in (0, 199 * MS, 399 * MS)] == [True, True, False]


def test_keeps_the_least_pause_at_a_gate_with_a_shorter_window() -> None:
    doubt = begun(window_ms=20)
    assert [doubt.doubts(at, LARGE) for at in (0, 30 * MS, 30 * MS + PAUSE_NS)] == [True, True, False]


@pytest.mark.parametrize("kept", [40, 300])
def test_doubts_frames_whose_sending_takes_longer_than_a_second(kept: int) -> None:
    doubt = begun("single_in_flight")
    assert all(doubt.doubts(number * 30 * MS, SMALL) for number in range(kept))


@pytest.mark.parametrize("period_ms", [10, 33])
@pytest.mark.parametrize(
    ("match", "longest_ns"), [("single_in_flight", LONGEST_NS), ("trigger_id", LONGEST_WITH_TRIGGER_NS)]
)
def test_doubts_a_camera_that_always_sends_fast_not_for_ever(match: str, longest_ns: int, period_ms: int) -> None:
    doubt = begun(match)
    times = range(0, 2 * longest_ns, period_ms * MS)
    assert [doubt.doubts(at, SMALL) for at in times] == [at < longest_ns for at in times]


def test_time_in_which_the_agent_does_not_read_is_no_pause() -> None:
    doubt = begun()
    assert doubt.doubts(0, SMALL)
    doubt.note_reading(500 * MS)
    assert doubt.doubts(501 * MS, SMALL)
    doubt.note_reading(900 * MS)
    assert not doubt.doubts(900 * MS + PAUSE_NS, SMALL)


def test_doubts_again_with_the_next_connection() -> None:
    doubt = begun()
    assert [doubt.doubts(0, SMALL), doubt.doubts(PAUSE_NS, SMALL)] == [True, False]
    doubt.begin(is_first=False)
    assert doubt.doubts(2 * PAUSE_NS, SMALL)


def test_frames_from_the_brokers_store_do_not_end_the_doubt_about_the_camera() -> None:
    doubt = begun()
    assert all(doubt.doubts(at, SMALL, is_from_store=True) for at in (0, PAUSE_NS, 2 * LONGEST_NS))
    came_back = 2 * LONGEST_NS + PAUSE_NS
    assert [doubt.doubts(came_back + number * MS, SMALL) for number in range(4)] == [True] * 4, "kept by the camera"
    assert not doubt.doubts(came_back + 3 * MS + PAUSE_NS, SMALL)
