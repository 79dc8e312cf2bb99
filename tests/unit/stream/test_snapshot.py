"""What the road tells for figures: the agent at one moment, and decisions by gate and by whether they were told."""

from __future__ import annotations

import pytest

from inspector.domain import Action, FrameFault, GateMode, GateState, HeldFor
from inspector.stream import spare_time
from inspector.stream.gate_fault import Fault
from inspector.stream.pipeline import Pipeline
from inspector.stream.pipeline.snapshot import CameraSnapshot, GateSnapshot, Snapshot
from inspector.testing.late_frames import InMemoryLateFrames
from tests.unit.stream.test_challenging import ORDER, ack
from tests.unit.stream.test_challenging import show as show_masters
from tests.unit.stream.test_commanding import Talker
from tests.unit.stream.test_holding import HELD, READY, beat, show, show_each
from tests.unit.stream.test_pipeline import BAD, FREE, GOOD, UNKNOWN, Plant, backlog_of, settings, until


def gate_of(pipeline: Pipeline) -> GateSnapshot:
    (gate,) = pipeline.snapshot().gates
    return gate


def camera_of(pipeline: Pipeline) -> CameraSnapshot:
    (camera,) = pipeline.snapshot().cameras
    return camera


async def test_snapshot_of_a_line_that_runs_and_of_one_that_ends() -> None:
    plant = Plant(settings())
    starting = plant.pipeline()
    async with plant.source:
        await starting.recover()
        before = starting.snapshot()
    assert (before.is_taking_frames, before.fault, before.live) == (False, Fault.NO_PRODUCT, ())
    async with plant.running() as pipeline:
        await until(lambda: beat(plant) == READY)
        shown = pipeline.snapshot()
        assert isinstance(shown, Snapshot)
        assert (shown.is_taking_frames, shown.is_database_up, shown.fault) == (True, True, Fault.NONE)
        assert gate_of(pipeline) == GateSnapshot("gate", Fault.NONE, True, GateMode.AUTO, None, "none", 2.0)
        camera = camera_of(pipeline)
        assert (camera.name, camera.is_connected, camera.rhythm) == ("cam", True, "usual")
        assert camera.age_bound_s == 0
    assert not pipeline.snapshot().is_taking_frames


async def test_snapshot_names_the_reason_of_a_hold() -> None:
    plant = Plant(settings(storm_consecutive=2))
    async with plant.running() as pipeline:
        await show_each(plant, [BAD, BAD])
        await until(lambda: beat(plant) == HELD)
        assert gate_of(pipeline).held_for == HeldFor.CONSECUTIVE_REJECTS.value
        assert gate_of(pipeline).fault is Fault.HELD
        await Talker(plant).tell("release", gate="gate")
        await until(lambda: gate_of(pipeline).held_for is None)


async def test_snapshot_of_frozen_camera_names_the_fault() -> None:
    plant = Plant(FREE)
    async with plant.running() as pipeline:
        for number in range(8):
            plant.push(b"0:0.2#same", frame_id=number)
            await plant.has_rows(number + 1)
        assert camera_of(pipeline).frame_fault is FrameFault.FROZEN
        assert camera_of(pipeline).age_bound_s is None, "a camera without a gate has no bound to keep"


async def test_snapshot_of_a_hold_without_a_name_says_unknown() -> None:
    plant = Plant(settings())
    plant.ledger.gates["gate"] = GateState("gate", held=True)
    async with plant.running() as pipeline:
        await until(lambda: beat(plant) == HELD)
        assert gate_of(pipeline).held_for == "unknown"


async def test_snapshot_follows_a_challenge() -> None:
    plant = Plant(settings())
    async with plant.running() as pipeline:
        await Talker(plant).tell("golden", **ORDER)
        await until(lambda: gate_of(pipeline).challenge == "under_way")
        assert gate_of(pipeline).mode is GateMode.GOLDEN
        show_masters(plant, [GOOD, GOOD, BAD])
        await until(lambda: len(plant.line.told) == 3)
        ack(plant, 3, 2)
        await until(lambda: gate_of(pipeline).challenge == "none")


async def test_decisions_are_counted_by_gate_action_and_whether_they_were_told() -> None:
    plant = Plant(settings(storm_consecutive=2))
    async with plant.running():
        await show_each(plant, [GOOD, BAD])
        plant.line.is_answered = False
        await show_each(plant, [GOOD], 10)
        plant.line.is_answered, plant.line.is_connected = True, False
        await show_each(plant, [GOOD], 20)
        plant.line.is_connected = True
        await show_each(plant, [BAD, BAD, GOOD], 30)
    counted = {key[1:]: number for key, number in plant.telemetry.labelled.items() if key[0] == "decisions"}
    assert counted == {
        ("gate", "pass", "in_time"): 1,
        ("gate", "reject", "in_time"): 3,
        ("gate", "pass", "unknown"): 1,
        ("gate", "pass", "not_in_time"): 1,
        ("gate", "pass", "withheld"): 1,
    }
    assert plant.telemetry.counters["publish"] == 5, "those that went out were timed"
    assert plant.telemetry.counters["record"] >= 1


@pytest.mark.parametrize(("policy", "count"), [("pass", 2), ("quarantine", 0)])
async def test_parts_that_are_let_pass_unjudged_are_counted(policy: str, count: int) -> None:
    config = settings()
    camera = config.camera[0].model_copy(update={"on_unjudged": Action(policy)})
    plant = Plant(config.model_copy(update={"camera": (camera,)}))
    async with plant.running():
        show(plant, [GOOD, UNKNOWN, UNKNOWN])
        await plant.has_rows(3)
    assert plant.telemetry.labelled["unjudged_passes", "gate"] == count


async def test_late_frames_that_are_given_up_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare_time, "REST_S", 0.0)
    plant = Plant(settings(), backlog_of(GOOD, BAD))
    plant.late = InMemoryLateFrames(plant.clock, max_bytes=1)
    async with plant.running():
        await plant.all_judged(2)
        await until(lambda: plant.telemetry.counters["late_given_up"] == 2)
    assert all(row.late_cause is None for row in plant.rows())
