"""A decision that waits for room at the broker is looked at once more before it goes: its gate may be held by then."""

from __future__ import annotations

import asyncio

from inspector.domain import Action
from tests.unit.stream.test_commanding import Talker
from tests.unit.stream.test_pipeline import BAD, GOOD, Plant, settings, until


def told(plant: Plant) -> list[tuple[int | None, Action]]:
    return [(decision.trigger_id, decision.action) for decision in plant.line.told]


async def test_pass_that_waited_for_room_is_not_sent_to_a_gate_that_was_held_meanwhile() -> None:
    plant = Plant(settings(storm_consecutive=2))
    async with plant.running():
        plant.push(GOOD, 1)
        await plant.has_rows(1)
        plant.line.has_room.clear()
        plant.push(GOOD, 2)
        await until(lambda: len(plant.line.waiting) == 1)
        plant.push(BAD, 3)
        plant.push(BAD, 4)
        await until(lambda: "storm" in plant.telemetry.kinds())
        plant.line.has_room.set()
        await plant.has_rows(4)
    assert told(plant) == [(1, Action.PASS), (3, Action.REJECT), (4, Action.REJECT)]
    assert [(row.trigger_id, row.published) for row in plant.rows()] == [(1, True), (2, False), (3, True), (4, True)]
    assert plant.telemetry.labelled["decisions", "gate", "pass", "withheld"] == 1


async def test_decision_that_waited_for_room_is_not_sent_after_a_resync() -> None:
    plant = Plant(settings())
    async with plant.running():
        plant.line.has_room.clear()
        plant.push(GOOD, 1)
        await until(lambda: len(plant.line.waiting) == 1)
        reply = await Talker(plant).tell("resync", gate="gate")
        assert reply["ok"] == 1
        plant.line.has_room.set()
        await plant.has_rows(1)
    assert told(plant) == []


async def test_decision_of_an_epoch_that_no_heartbeat_has_told_is_not_sent() -> None:
    plant = Plant(settings(max_gap=10))
    async with plant.running():
        plant.push(GOOD, 5000)
        await plant.has_rows(1)
        plant.line.is_jammed = True
        plant.push(GOOD, 1)  # its counter has begun again: a new epoch
        await plant.has_rows(2)
        assert told(plant) == [(5000, Action.PASS)]
        plant.line.is_jammed = False
        plant.push(GOOD, 2)
        await plant.has_rows(3)
        await asyncio.sleep(0)
    assert told(plant) == [(5000, Action.PASS), (2, Action.PASS)]
    assert {beat["ep"] for _, beat in plant.line.beats} == {1, 2}
