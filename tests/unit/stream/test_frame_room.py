"""The bytes of frames in memory stay within their bound, over all cameras, whatever the cameras send."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.config.config import Config
from inspector.config.loading import parse
from inspector.domain import Cause, Position
from inspector.errors import LedgerUnavailable
from inspector.stream.frame_room import FrameRoom
from inspector.testing.source import FakeSource
from tests.unit.stream.test_pipeline import Plant, until

MIB = 1 << 20


def position(camera: str, number: int) -> Position:
    return Position(camera, 1, number)


def test_one_camera_fills_half_and_leaves_the_rest_to_others() -> None:
    room = FrameRoom(100)
    number = 0
    while room.has_room("a", 10):
        number += 1
        room.hold(position("a", number), "a", 10)
    assert room.held_bytes == 50
    assert room.has_room("b", 25)
    assert not room.has_room("a", 10)


def test_camera_that_holds_nothing_may_always_add_one_frame() -> None:
    room = FrameRoom(100)
    room.hold(position("a", 1), "a", 90)
    assert room.has_room("b", 500)
    room.hold(position("b", 1), "b", 500)
    assert room.is_over
    assert not room.has_room("b", 1)


def test_delivery_is_counted_once_and_let_go_once() -> None:
    room, told = FrameRoom(100), []
    room.listeners.append(lambda: told.append(room.held_bytes))
    for _ in range(2):
        room.hold(position("a", 1), "a", 10)
    assert room.holds(position("a", 1))
    for _ in range(2):
        room.let_go(position("a", 1))
    assert (room.held_bytes, room.peak_bytes, told) == (0, 10, [0])
    assert room.has_room("a", 100)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 60), st.booleans()), max_size=60))
def test_frames_that_have_room_never_pass_the_bound_by_more_than_first_frames(
    offered: list[tuple[str, int, bool]],
) -> None:
    room, held = FrameRoom(100), []
    for number, (camera, size_bytes, goes) in enumerate(offered):
        if goes and held:
            room.let_go(held.pop(0))
        is_first = not any(each.stream == camera for each in held)
        if room.has_room(camera, size_bytes):
            room.hold(position(camera, number), camera, size_bytes)
            held.append(position(camera, number))
            assert is_first or not room.is_over
    for each in held:
        room.let_go(each)
    assert room.held_bytes == 0


def plant_of(*, has_gate: bool, is_shared: bool = False) -> Plant:
    table: dict[str, Any] = {
        "agent": {"name": "agent", "drain_s": 2, "frames_mib": 16},
        "engine": {"queue_frames": 100},
        "camera": [{"name": "cam", "on_unjudged": "quarantine"}],
    }
    if has_gate:
        table["gate"] = [{"name": "gate", "cameras": ["cam"], "window_ms": 60_000}]
    config: Config = parse(table, None)
    plant = Plant(config)
    if is_shared:
        plant.source = FakeSource("cam", plant.clock, is_shared=True)
    return plant


def frame(number: int, size_bytes: int) -> bytes:
    return f"0:0.20#{number}##".encode().ljust(size_bytes, b".")


async def test_camera_without_a_gate_waits_for_room_and_loses_no_frame() -> None:
    plant = plant_of(has_gate=False, is_shared=True)
    async with plant.running():
        for number in range(80):
            plant.push(frame(number, 3 * MIB // 2), frame_id=number)
        await until(lambda: len(plant.ledger.rows) >= 80, 120)
    assert [row.frame_id for row in plant.rows()] == [str(number) for number in range(80)]
    assert plant.room.peak_bytes <= 16 * MIB
    assert plant.room.held_bytes == 0


async def test_camera_at_a_gate_without_room_is_shed_as_overload_with_a_row() -> None:
    plant = plant_of(has_gate=True)
    plant.room.hold(position("another", 1), "another", 15 * MIB)
    async with plant.running():
        for number in range(1, 9):
            plant.push(frame(number, 3 * MIB // 2), number)
        await until(lambda: len(plant.ledger.rows) >= 8, 60)
    overloaded = [row for row in plant.rows() if row.cause is Cause.OVERLOAD]
    assert overloaded
    assert {row.cause_detail for row in overloaded} == {"the frames in memory leave no room for it (agent.frames_mib)"}
    assert plant.room.held_bytes == 15 * MIB


async def test_frames_whose_rows_wait_for_the_database_hold_no_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    plant = plant_of(has_gate=False)
    is_away = asyncio.Event()
    record = plant.ledger.record

    async def refused(*arguments: Any) -> Any:
        if is_away.is_set():
            raise LedgerUnavailable("The database does not answer.")
        return await record(*arguments)

    monkeypatch.setattr(plant.ledger, "record", refused)
    is_away.set()
    async with plant.running() as pipeline:
        for number in range(20):
            plant.push(frame(number, MIB), frame_id=number)
        await until(lambda: len(plant.sink.verdicts) >= 20, 60)
        await until(lambda: plant.room.held_bytes == 0)
        tickets = pipeline._shared.in_flight.values()
        assert [len(ticket.facts.admitted.delivery.payload) for ticket in tickets] == [0] * len(tickets)
        is_away.clear()
        await plant.has_rows(20)
    assert len(plant.images.pictures) == 20
    assert all(len(picture.payload) == MIB for picture in plant.images.pictures)
