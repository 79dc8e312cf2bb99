"""Events of trigger counts that can't be right: told once at once, then together, however fast frames come."""

from __future__ import annotations

import asyncio

from inspector.config.loading import parse
from inspector.domain import Event, GateState, Severity
from inspector.stream.trigger_counter import REMEMBERED_EPOCHS, TriggerCounter
from inspector.testing.source import FakeSource
from tests.unit.stream.test_pipeline import GOOD, Plant, settings, until

FRAMES = 60


def of(plant: Plant, kind: str) -> list[Event]:
    return [event for event in plant.telemetry.events if event.kind == kind]


async def test_run_trigger_count_that_stands_still_is_two_events_with_the_number_of_frames() -> None:
    plant = Plant(settings(window_ms=20_000))
    async with plant.running():
        for number in range(FRAMES):
            plant.push(GOOD + b"#%d" % number, 7)
            await plant.has_rows(number + 1)
    rows = [row for row in plant.rows() if row.id_conflict]
    assert len(rows) == FRAMES - 1, "each row says so still"
    first, later = of(plant, "id_conflict")
    assert first.detail.startswith("a frame came under an id that another picture had before, and is judged on its own")
    assert first.detail.endswith(f"inspector results show {rows[0].result_id}")
    assert f"{FRAMES - 2} frames came under ids that other pictures had before" in later.detail
    assert rows[1].result_id in later.detail
    assert {first.severity, later.severity} == {Severity.WARNING}


async def test_run_cameras_whose_counts_lie_apart_are_two_events_and_alarms_stay_alarms() -> None:
    cameras = [{"name": name, "on_unjudged": "quarantine"} for name in ("cam", "other")]
    gate = {"name": "gate", "cameras": ["cam", "other"], "window_ms": 20_000}
    plant = Plant(parse({"agent": {"drain_s": 2}, "camera": cameras, "gate": [gate]}, None))
    pipeline = plant.pipeline()
    other = pipeline._shared.sources["other"] = FakeSource("other", plant.clock)
    async with plant.source, other:
        await pipeline.recover()
        run = asyncio.create_task(pipeline.run())
        await pipeline.has_started.wait()
        for number in range(FRAMES // 2):
            plant.push(GOOD + b"#%d" % number, number)
            await until(lambda: not plant.source.broker.kept)
            other.push(GOOD + b"#o%d" % number, {"trigger-id": str(number + 100_000)})
            await until(lambda: not other.broker.kept)
        pipeline.stop()
        await run
    first, later = of(plant, "counter_reset")
    assert "sent trigger 100000 after 0, farther than max_gap" in first.detail
    assert f"{FRAMES - 2} times: camera cam sent trigger 1 after 100000, so its counter has begun again" in later.detail
    assert later.severity is Severity.ALARM, "jumps forward are among them"


def test_trigger_counter_keeps_a_bounded_number_of_epochs() -> None:
    counter = TriggerCounter(GateState("gate"), None, 16)
    first = counter.state.epoch
    for _ in range(3 * REMEMBERED_EPOCHS):
        counter.restart(1)
    last = counter.state.epoch
    assert last == first + 3 * REMEMBERED_EPOCHS
    assert [epoch for epoch in range(first, last + 1) if counter.has_had(epoch)] == list(
        range(last - REMEMBERED_EPOCHS + 1, last + 1)
    )
