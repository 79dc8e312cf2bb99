"""Contradictions of the account are told by name, hold a gate beyond its bound, and are counted at the end of a lot."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from inspector.config.config import Config
from inspector.domain import CommandName, Part, Severity
from inspector.errors import RowDamaged
from inspector.stream import pauses
from inspector.stream.gate_fault import Fault
from tests.unit.stream.test_commanding import Talker
from tests.unit.stream.test_pipeline import BAD, GOOD, UNKNOWN, Plant, settings, until
from tests.unit.stream.test_reports import report


def line(**changes: Any) -> Config:
    return settings(**{"ack_within_s": 1.0, "window_ms": 4000, **changes})


def fresh(plant: Plant, trigger: int, **changes: Any) -> Any:
    """A report that comes now."""
    return report(trigger, received_at=plant.clock.now(), **changes)


async def told(plant: Plant, kind: str) -> None:
    await until(lambda: kind in plant.telemetry.kinds(), 30)


async def test_account_pass_of_a_part_told_reject_is_an_alarm() -> None:
    plant = Plant(line())
    async with plant.running():
        plant.push(BAD, 1)
        await until(lambda: len(plant.line.told) == 1)
        plant.acks.reported.put_nowait(fresh(plant, 1, action=1))
        await told(plant, "ack_other_than_told")
    (event,) = [event for event in plant.telemetry.events if event.kind == "ack_other_than_told"]
    assert (event.severity, event.subject) == (Severity.ALARM, "gate")
    assert event.detail.startswith("1 part done otherwise")
    assert event.detail.endswith("see: inspector parts --gate gate --class done_otherwise")
    assert "trigger 1 of epoch 1" in event.detail


async def test_account_parts_passed_without_any_frame_are_told_in_one_event() -> None:
    plant = Plant(line())
    async with plant.running():
        plant.push(GOOD, 1)
        await plant.has_rows(1)
        for trigger in range(2, 22):
            plant.acks.reported.put_nowait(fresh(plant, trigger, action=1, source=2, done=0))
        await told(plant, "ack_without_frame")
        await until(lambda: plant.telemetry.counters["ack_without_frame"] == 20)
    assert plant.telemetry.kinds().count("ack_without_frame") == 1


@pytest.mark.parametrize(
    ("payload", "ack", "kind"),
    [
        (GOOD, {"action": 1, "source": 2}, "ack_default_though_told"),
        (UNKNOWN, {"action": 1, "source": 2}, "ack_default_though_told"),
        (GOOD, None, "ack_missing"),
    ],
)
async def test_account_names_each_contradiction(payload: bytes, ack: dict[str, int] | None, kind: str) -> None:
    plant = Plant(line())
    async with plant.running():
        plant.push(payload, 1)
        await until(lambda: len(plant.line.told) == 1)
        if ack is not None:
            plant.acks.reported.put_nowait(fresh(plant, 1, **ack))
        await told(plant, kind)


async def test_account_part_that_was_never_judged_and_passed_is_told() -> None:
    plant = Plant(line())
    plant.line.is_connected = False
    async with plant.running():
        plant.push(UNKNOWN, 1)
        await plant.has_rows(1)
        plant.acks.reported.put_nowait(fresh(plant, 1, action=1, source=2))
        await told(plant, "passed_unjudged")


async def test_account_of_parts_done_as_told_says_nothing() -> None:
    plant = Plant(line(account_share=0.5, account_parts=4))
    async with plant.running():
        for trigger in range(1, 6):
            plant.push(GOOD, trigger)
            await until(lambda count=trigger: len(plant.line.told) == count)  # type: ignore[misc]  # mypy can't infer
            plant.acks.reported.put_nowait(fresh(plant, trigger, action=1))
        await until(lambda: len(plant.ledger.acks) == 5)
        # The part after them is told, and parts are looked at in order.
        plant.push(GOOD, 6)
        await told(plant, "ack_missing")
    kinds = {kind for kind in plant.telemetry.kinds() if kind.startswith(("ack_", "account_", "passed_"))}
    assert kinds == {"ack_missing"}


async def test_account_of_parts_that_the_default_kept_out_too_says_nothing() -> None:
    """A held gate asks for just that: rejects are sent while it isn't ready, and the default applies."""
    plant = Plant(line(account_share=0.5, account_parts=4))
    async with plant.running():
        for trigger in range(1, 6):
            plant.push(UNKNOWN, trigger)
            await until(lambda count=trigger: len(plant.line.told) == count)  # type: ignore[misc]  # mypy can't infer
            plant.acks.reported.put_nowait(fresh(plant, trigger, action=3, source=2))
        await until(lambda: len(plant.ledger.acks) == 5)
        # The part after them is told, and parts are looked at in order.
        plant.push(GOOD, 6)
        await told(plant, "ack_missing")
    kinds = {kind for kind in plant.telemetry.kinds() if kind.startswith(("ack_", "account_", "passed_"))}
    assert kinds == {"ack_missing"}


async def test_account_share_beyond_its_bound_holds_the_gate_until_it_is_released() -> None:
    plant = Plant(line(account_share=0.4, account_parts=5, account_holds=True))

    def beats(ready: int, fault: int) -> bool:
        beat = plant.line.beats[-1][1] if plant.line.beats else {}
        return (beat.get("ready"), beat.get("fault")) == (ready, fault)

    async with plant.running():
        await until(lambda: beats(1, 0))
        for trigger in range(5):
            plant.acks.reported.put_nowait(fresh(plant, trigger, action=1, source=2))
        await until(lambda: beats(0, Fault.HELD))
        await until(lambda: plant.ledger.gates["gate"].held, 5)
        reply = await Talker(plant).tell(CommandName.RELEASE, gate="gate")
        assert reply["ok"] == 1, reply
        await until(lambda: beats(1, 0))
    assert plant.telemetry.kinds().count("account_beyond_bound") == 1


async def test_account_share_without_holding_is_an_alarm_alone() -> None:
    plant = Plant(line(account_share=0.4, account_parts=5))
    async with plant.running() as pipeline:
        for trigger in range(5):
            plant.acks.reported.put_nowait(fresh(plant, trigger, action=1, source=2))
        await told(plant, "account_beyond_bound")
        assert not pipeline._shared.admission.counter("gate").state.held


async def test_account_of_a_damaged_row_is_told_and_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    plant = Plant(line())
    parts = plant.ledger.parts

    async def damaged(*_: object) -> list[Part]:
        raise RowDamaged("A row can't be read.")

    async with plant.running():
        monkeypatch.setattr(plant.ledger, "parts", damaged)
        await told(plant, "account_unreadable")
        plant.acks.reported.put_nowait(fresh(plant, 1, action=1, source=2))
        monkeypatch.setattr(plant.ledger, "parts", parts)
        await told(plant, "ack_without_frame")


async def test_account_leaves_out_what_nobody_inspects() -> None:
    plant = Plant(line(account_share=0.4, account_parts=5))
    async with plant.running():
        for trigger in range(5):
            plant.acks.reported.put_nowait(fresh(plant, trigger, action=1, source=3))
        plant.acks.reported.put_nowait(fresh(plant, 9, action=1, source=2))
        await told(plant, "ack_without_frame")
    assert plant.telemetry.counters["ack_without_frame"] == 1


async def test_account_of_a_lot_that_has_ended_is_an_event_with_its_classes() -> None:
    plant = Plant(line())
    async with plant.running():
        talker = Talker(plant)
        await talker.tell("job", job_id="J1", lot="L1")
        for trigger in range(1, 4):
            plant.push(GOOD, trigger)
            await until(lambda count=trigger: len(plant.line.told) == count)  # type: ignore[misc]  # mypy can't infer
        for trigger in (1, 2):
            plant.acks.reported.put_nowait(fresh(plant, trigger, action=1))
        await until(lambda: len(plant.ledger.acks) == 2)
        await talker.tell("job", job_id="J2", lot="L2")
        await told(plant, "lot_account")
    (event,) = [event for event in plant.telemetry.events if event.kind == "lot_account"]
    assert event.detail == (
        "lot L1 has ended: 3 parts, 2 done as told, 1 never acknowledged; see: inspector parts --lot L1"
    )
    assert (event.severity, event.subject) == (Severity.WARNING, "gate")


async def test_account_of_a_lot_that_ended_before_a_restart_is_told_after_it() -> None:
    plant = Plant(line())
    async with plant.running():
        talker = Talker(plant)
        await talker.tell("job", job_id="J1", lot="L1")
        plant.push(GOOD, 1)
        await plant.has_rows(1)
        await talker.tell("job", job_id=None)
    assert "lot_account" not in plant.telemetry.kinds()
    again = Plant(line(), earlier=plant)
    async with again.running():
        await told(again, "lot_account")
    (event,) = [event for event in again.telemetry.events if event.kind == "lot_account"]
    assert event.detail == ("lot L1 has ended: 1 part, 1 never acknowledged; see: inspector parts --lot L1")


def events_of(plant: Plant, kind: str) -> list[str]:
    return [event.detail for event in plant.telemetry.events if event.kind == kind]


async def test_account_contradiction_before_a_restart_is_told_after_it_and_only_once() -> None:
    plant = Plant(line())
    async with plant.running():
        plant.push(BAD, 3)
        await until(lambda: len(plant.line.told) == 1)
        plant.acks.reported.put_nowait(fresh(plant, 3, action=1))
        await until(lambda: len(plant.ledger.acks) == 1)
    assert events_of(plant, "ack_other_than_told") == []
    await asyncio.sleep(1.2)  # the agent is away for longer than ack_within_s
    again = Plant(line(), earlier=plant)
    async with again.running():
        await told(again, "ack_other_than_told")
        await until(lambda: any(event.kind == "ack_other_than_told" for event in again.ledger.events))
    (detail,) = events_of(again, "ack_other_than_told")
    assert "trigger 3 of epoch 1" in detail
    third = Plant(line(), earlier=again)
    async with third.running():
        third.push(GOOD, 4)
        await told(third, "ack_missing")  # parts are looked at in order
    assert events_of(third, "ack_other_than_told") == []
    assert third.telemetry.counters["ack_other_than_told"] == 0


async def test_account_contradiction_whose_event_waited_when_the_agent_ended_is_told_by_the_next_run() -> None:
    plant = Plant(line())
    async with plant.running():
        plant.push(GOOD, 1)
        await plant.has_rows(1)
        plant.acks.reported.put_nowait(fresh(plant, 2, action=1, source=2))
        await told(plant, "ack_without_frame")
        plant.acks.reported.put_nowait(fresh(plant, 3, action=1, source=2))
        await until(lambda: plant.telemetry.counters["ack_without_frame"] == 2)
    again = Plant(line(), earlier=plant)
    async with again.running():
        await told(again, "ack_without_frame")
    assert [
        detail.split(";")[0]
        for detail in (*events_of(plant, "ack_without_frame"), *events_of(again, "ack_without_frame"))
    ] == [
        "1 part passed without any picture: trigger 2 of epoch 1",
        "1 part passed without any picture: trigger 3 of epoch 1",
    ]


async def test_account_part_acknowledged_while_its_event_waits_is_not_told_as_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pauses, "FIRST_PAUSE_S", 3.0)
    plant = Plant(line())
    async with plant.running():
        plant.push(GOOD, 1)
        await told(plant, "ack_missing")
        for trigger in (2, 3, 4):
            plant.push(GOOD, trigger)
        await until(lambda: plant.telemetry.counters["ack_missing"] == 4)
        for trigger in (2, 3):
            plant.acks.reported.put_nowait(fresh(plant, trigger, action=1))
        await until(lambda: len(events_of(plant, "ack_missing")) == 2, 30)
    assert events_of(plant, "ack_missing")[1].split(";")[0] == (
        "since the last such event: 1 part never acknowledged by the PLC: trigger 4 of epoch 1"
    )


async def test_account_of_a_lot_is_told_once_over_restarts() -> None:
    plant = Plant(line())
    async with plant.running():
        talker = Talker(plant)
        await talker.tell("job", job_id="J1", lot="L1")
        plant.push(GOOD, 1)
        await plant.has_rows(1)
        await talker.tell("job", job_id="J2", lot="L2")
        await told(plant, "lot_account")
        await until(lambda: any(event.kind == "lot_account" for event in plant.ledger.events))
    again = Plant(line(), earlier=plant)
    async with again.running():
        talker = Talker(again)
        again.push(GOOD, 2)
        await again.has_rows(2)
        await talker.tell("job", job_id=None, cmd_id="of the second run")
        await told(again, "lot_account")
        await until(lambda: sum(event.kind == "lot_account" for event in again.ledger.events) == 2)
    assert [detail.split(":")[0] for detail in events_of(again, "lot_account")] == ["lot L2 has ended"]
