"""Reports of PLCs: journaled, recorded, then acknowledged; none lost and none counted twice."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from inspector.domain import CommandName, CommandRequest, GateAction, GateMode, GateState
from inspector.stream.pipeline.reports import MOST_UNSURE
from tests.unit.stream.conftest import START
from tests.unit.stream.test_pipeline import GOOD, Died, Plant, settings, until
from tests.unit.stream.test_spooling import UnsyncedJournal

STAGES = ["ack_received", "ack_journaled", "ack_recorded", "ack_acknowledged"]


def report(trigger: int, **changes: Any) -> GateAction:
    made = GateAction("gate", 1, trigger, action=2, source=1, done=1, received_at=START, agent="agent")
    return dataclasses.replace(made, **changes)


def triggers(plant: Plant) -> list[int]:
    return [action.trigger_id for action in plant.ledger.gate_actions]


async def test_report_is_acknowledged_after_its_row_is_there() -> None:
    plant = Plant(settings())
    async with plant.running():
        plant.acks.reported.put_nowait(report(7))
        await until(lambda: plant.acks.acknowledged == [1])
        assert triggers(plant) == [7]
        assert plant.journal.unrecorded_gate_actions() == []
    assert [stage for stage in plant.reached if stage in STAGES] == STAGES


async def test_report_while_the_ledger_is_away_is_acknowledged_from_the_synced_journal() -> None:
    plant = Plant(settings())
    async with plant.running():
        plant.ledger.is_available = False
        synced = plant.journal.syncs
        for trigger in range(300):
            plant.acks.reported.put_nowait(report(trigger))
        await until(lambda: bool(plant.acks.acknowledged) and plant.acks.acknowledged[-1] == 300)
        assert plant.journal.syncs > synced
        assert plant.ledger.gate_actions == []
        plant.ledger.is_available = True
        await until(lambda: len(plant.ledger.gate_actions) == 300)
    assert triggers(plant) == list(range(300))


async def test_report_that_never_got_its_row_has_it_after_the_restart() -> None:
    plant = Plant(settings())
    async with plant.running():
        plant.ledger.is_available = False
        for trigger in range(3):
            plant.acks.reported.put_nowait(report(trigger))
        await until(lambda: 3 in plant.acks.acknowledged)
    plant.ledger.is_available = True
    again = Plant(settings(), earlier=plant)
    async with again.running():
        assert triggers(again) == [0, 1, 2]
    assert again.journal.unrecorded_gate_actions() == []


async def test_report_that_finds_no_room_in_the_journal_waits_and_is_not_acknowledged() -> None:
    plant = Plant(settings())
    async with plant.running():
        plant.journal.is_full = True
        plant.acks.reported.put_nowait(report(1))
        await until(lambda: "journal_full" in plant.telemetry.kinds())
        assert plant.acks.acknowledged == []
        plant.journal.is_full = False
        await until(lambda: plant.acks.acknowledged == [1])
    assert triggers(plant) == [1]


async def test_report_that_finds_no_room_to_be_durable_waits_and_is_not_acknowledged() -> None:
    plant = Plant(settings())
    journal = plant.journal = UnsyncedJournal()
    async with plant.running():
        plant.ledger.is_available = False
        plant.acks.reported.put_nowait(report(1))
        await until(lambda: "journal_full" in plant.telemetry.kinds())
        refused = journal.refused
        await until(lambda: journal.refused > refused)
        assert plant.acks.acknowledged == []
        journal.has_no_room = False
        await until(lambda: plant.acks.acknowledged == [1])
        plant.ledger.is_available = True
        await until(lambda: triggers(plant) == [1])


@pytest.mark.parametrize("stage", STAGES)
async def test_death_at_a_stage_leaves_one_row_for_each_report(stage: str) -> None:
    plant = Plant(settings())
    sent = [report(trigger) for trigger in range(5)]

    def die(reached: str) -> None:
        plant.reached.append(reached)
        if plant.reached.count(stage) == 3:
            raise Died

    pipeline = plant.pipeline(die)
    async with plant.source:
        await pipeline.recover()
        run = asyncio.create_task(pipeline.run())
        await pipeline.has_started.wait()
        for action in sent:
            plant.acks.reported.put_nowait(action)
        with pytest.raises(BaseExceptionGroup):
            await run
    again = Plant(settings(), earlier=plant)
    async with again.running():
        done = len(plant.acks.acknowledged) and plant.acks.acknowledged[-1]
        for action in sent[done:]:  # as the broker does with what was not acknowledged
            again.acks.reported.put_nowait(
                dataclasses.replace(action, is_redelivered=True, report_id=f"z{action.trigger_id}")
            )
        await until(lambda: len(again.acks.acknowledged) > 0 or done == 5)
        await until(lambda: len(again.ledger.gate_actions) == 5)
    assert sorted(triggers(again)) == list(range(5))
    assert [row.repeats for row in again.ledger.acks.values()] == [0] * 5


async def test_same_report_again_is_counted_and_another_one_is_kept_and_told() -> None:
    plant = Plant(settings())
    async with plant.running():
        for action in (report(1), report(1), report(1, is_redelivered=True), report(1, action=1), report(1, action=1)):
            plant.acks.reported.put_nowait(action)
        await until(lambda: 5 in plant.acks.acknowledged)
    (row,) = plant.ledger.acks.values()
    assert row.repeats == 2, "the second of each, but not what the broker repeated"
    assert [other["act"] for other in row.others] == [1]
    assert plant.telemetry.kinds().count("ack_contradicts") == 1


@pytest.mark.parametrize(("mode", "is_told"), [("auto", True), ("bypass", False)])
async def test_bypass_at_the_plc_is_told_while_the_agent_judges(mode: str, is_told: bool) -> None:
    plant = Plant(settings())
    async with plant.running() as pipeline:
        counter = pipeline._shared.admission.counter("gate")
        counter.update(dataclasses.replace(counter.state, mode=GateMode(mode)))
        plant.acks.reported.put_nowait(report(1, source=3, action=1))
        await until(lambda: 1 in plant.acks.acknowledged)
        assert ("bypassed_at_plc" in plant.telemetry.kinds()) is is_told


async def test_contradiction_that_waits_to_be_told_is_kept_against_a_kill() -> None:
    plant = Plant(settings())
    async with plant.running():
        for trigger in (1, 2):
            plant.acks.reported.put_nowait(report(trigger))
            plant.acks.reported.put_nowait(report(trigger, action=1))
        await until(lambda: 4 in plant.acks.acknowledged)
        kept = plant.telemetry.waiting["ack_contradicts", "gate"]
        assert "trigger 2 of epoch 1" in kept.detail
    assert plant.telemetry.kinds().count("ack_contradicts") == 2, "the end of the run tells the rest"
    assert ("ack_contradicts", "gate") not in plant.telemetry.waiting


async def test_report_of_a_wrapped_trigger_gets_the_lap_of_the_gate_s_count() -> None:
    plant = Plant(settings(trigger_modulus=10, max_gap=2))
    async with plant.running():
        for count in range(1, 23):
            plant.push(GOOD, count % 10)
        await plant.has_rows(22)
        for trigger in (9, 0, 2, 4):
            plant.acks.reported.put_nowait(report(trigger))
        await until(lambda: 4 in plant.acks.acknowledged)
    assert [(action.lap, action.trigger_id) for action in plant.ledger.gate_actions] == [(1, 9), (2, 0), (2, 2), (2, 4)]


@pytest.mark.parametrize("wrong", [{"epoch": 0}, {"epoch": 2}, {"trigger_id": 65536}])
async def test_report_of_a_part_that_cannot_be_is_told_acknowledged_and_not_stored(wrong: dict[str, int]) -> None:
    plant = Plant(settings(trigger_modulus=65536))
    async with plant.running():
        for _ in range(3):
            plant.acks.reported.put_nowait(report(1, **wrong))
        await until(lambda: 3 in plant.acks.acknowledged)
    assert plant.ledger.gate_actions == []
    assert 1 <= plant.telemetry.kinds().count("ack_of_no_part") <= 2, "at once, and the rest together"
    assert plant.telemetry.counters["acks_of_no_part"] == 3


async def test_reports_at_a_gate_for_one_part_at_a_time_have_one_row_each_and_their_decision() -> None:
    plant = Plant(settings(match="single_in_flight"))
    async with plant.running():
        for number in range(3):
            plant.push(GOOD + b"#%d" % number)
            await until(lambda count=number + 1: len(plant.line.told) == count)  # type: ignore[misc]  # mypy can't infer
            plant.acks.reported.put_nowait(report(0, action=1, packet_id=number + 1))
            await until(lambda count=number + 1: len(plant.ledger.gate_actions) == count)  # type: ignore[misc]
        plant.acks.reported.put_nowait(report(0, action=1, packet_id=2, is_redelivered=True))
        plant.acks.reported.put_nowait(report(0, action=1, packet_id=4))
        await until(lambda: 5 in plant.acks.acknowledged)
    told = [decision.result_id for decision in plant.line.told]
    assert [action.result_id for action in plant.ledger.gate_actions] == [*told, None]


async def test_report_without_a_part_that_comes_again_after_a_death_has_one_row() -> None:
    plant = Plant(settings(match="single_in_flight"))
    async with plant.running():
        plant.acks.reported.put_nowait(report(0, packet_id=9))
        await until(lambda: len(plant.ledger.gate_actions) == 1)
    again = Plant(settings(match="single_in_flight"), earlier=plant)
    async with again.running():
        again.acks.reported.put_nowait(report(0, packet_id=9, is_redelivered=True, report_id="z1"))
        again.acks.reported.put_nowait(report(0, packet_id=10, is_redelivered=True, report_id="z2"))
        await until(lambda: 2 in again.acks.acknowledged)
    assert len(again.ledger.gate_actions) == 2


async def test_report_on_a_part_that_the_gate_was_told_nothing_of_is_about_its_frame() -> None:
    plant = Plant(settings(match="single_in_flight"))
    plant.line.is_connected = False
    async with plant.running():
        plant.push(GOOD)
        await plant.has_rows(1)
        plant.acks.reported.put_nowait(report(0, action=1, source=2))
        await until(lambda: 1 in plant.acks.acknowledged)
    assert [action.result_id for action in plant.ledger.gate_actions] == [row.result_id for row in plant.rows()]


async def test_report_at_a_gate_that_came_from_another_agent_is_placed_by_its_stored_state() -> None:
    plant = Plant(settings(trigger_modulus=100, max_gap=10))
    async with plant.running():
        plant.ledger.gates["gate"] = GateState("gate", 3, 523)
        plant.acks.reported.put_nowait(report(20, epoch=3))
        plant.acks.reported.put_nowait(report(1, epoch=4))
        await until(lambda: 2 in plant.acks.acknowledged)
        plant.ledger.gates["gate"] = GateState("gate", 4, None)
        plant.acks.reported.put_nowait(report(2, epoch=4))
        await until(lambda: 3 in plant.acks.acknowledged)
        plant.ledger.is_available = False
        plant.acks.reported.put_nowait(report(3, epoch=5))
        await until(lambda: 4 in plant.acks.acknowledged)
        plant.ledger.is_available = True
        await until(lambda: len(plant.ledger.gate_actions) == 3)
    found = [(action.epoch, action.lap, action.trigger_id) for action in plant.ledger.gate_actions]
    assert found == [(3, 5, 20), (4, 0, 2), (5, 0, 3)], "one that can't be checked is kept"
    assert plant.telemetry.counters["acks_of_no_part"] == 1


async def test_reports_of_an_epoch_that_never_was_are_told_counted_and_not_stored() -> None:
    """The epochs 2 to 4 were skipped, as a takeover does it."""
    plant = Plant(settings())
    plant.ledger.gates["gate"] = GateState("gate", 1, None)
    async with plant.running():
        plant.push(GOOD, 1)
        await plant.has_rows(1)
    plant.ledger.gates["gate"] = GateState("gate", 5, None)
    again = Plant(settings(), earlier=plant)
    async with again.running():
        for trigger in range(5000):
            again.acks.reported.put_nowait(report(trigger, epoch=2 + trigger % 3))
        for epoch in (1, 5):
            again.acks.reported.put_nowait(report(1, epoch=epoch))
        await until(lambda: 5002 in again.acks.acknowledged, 30)
    assert [action.epoch for action in again.ledger.gate_actions] == [1, 5], "what is known is stored as before"
    assert again.telemetry.labelled["acks_of_no_part", "gate"] == 5000
    assert again.ledger.asked_epochs == 4, "once for each epoch"
    first, *later = [event for event in again.telemetry.events if event.kind == "ack_of_no_part"]
    assert "nothing is known of epoch 2" in first.detail
    assert len(later) == 1


async def test_reports_of_an_unknown_epoch_while_the_ledger_is_away_are_taken_to_a_bound() -> None:
    plant = Plant(settings())
    async with plant.running():
        plant.ledger.is_available = False
        for trigger in range(MOST_UNSURE + 500):
            plant.acks.reported.put_nowait(report(trigger, epoch=99))
        for trigger in range(100):
            plant.acks.reported.put_nowait(report(trigger))
        await until(lambda: MOST_UNSURE + 600 in plant.acks.acknowledged, 30)
        plant.ledger.is_available = True
        await until(lambda: len(plant.ledger.gate_actions) == MOST_UNSURE + 100)
    assert sum(action.epoch == 1 for action in plant.ledger.gate_actions) == 100, "real ones are never lost"
    assert plant.telemetry.labelled["acks_of_no_part", "gate"] == 500
    assert "ack_of_no_part" in plant.telemetry.kinds()


async def test_report_of_an_epoch_that_only_a_command_began_is_stored_after_a_restart() -> None:
    plant = Plant(settings())
    async with plant.running():
        for number in range(3):
            now = datetime.now(UTC)
            table = {"v": 1, "cmd_id": f"c{number}", "sent_at": now.isoformat(), "by": "ada", "reason": "a test"}
            plant.commands.asked.put_nowait(CommandRequest(CommandName.RESYNC, orjson.dumps(table), now))
        await until(lambda: plant.ledger.gates["gate"].epoch == 4 if "gate" in plant.ledger.gates else False)
    again = Plant(settings(), earlier=plant)
    async with again.running():
        for epoch in (1, 2, 3, 4):
            again.acks.reported.put_nowait(report(1, epoch=epoch))
        await until(lambda: 4 in again.acks.acknowledged)
    assert [action.epoch for action in again.ledger.gate_actions] == [1, 2, 3, 4]
