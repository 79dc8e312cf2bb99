"""A gate is held at each of its bounds, no pass is sent while it is held, and no end of the agent loses the hold."""

from __future__ import annotations

from typing import Any

import pytest

from inspector.domain import Action, Cause, HeldFor, Severity
from inspector.stream.storms import NO_TRIGGER_ALARM_AT
from inspector.stream.wording import HELD_WORDS
from inspector.testing.source import FakeBroker
from tests.unit.stream.test_commanding import Talker, later
from tests.unit.stream.test_pipeline import BAD, GOOD, UNKNOWN, Plant, settings, until

HELD, READY = (0, 5), (1, 0)


def beat(plant: Plant) -> tuple[int | None, int | None]:
    last = plant.line.beats[-1][1] if plant.line.beats else {}
    return last.get("ready"), last.get("fault")


def show(plant: Plant, payloads: list[bytes], first: int = 1, *, with_trigger: bool = True) -> None:
    """Frames that differ in their bytes, so that none is a redelivery of another."""
    for number, payload in enumerate(payloads, first):
        plant.push(payload + b"#%d" % number, number if with_trigger else None)


async def show_each(plant: Plant, payloads: list[bytes], first: int = 1, *, with_trigger: bool = True) -> None:
    """The same, one after the other, so that none is shed. Returns when all have rows."""
    for number, payload in enumerate(payloads, first):
        before = len(plant.ledger.rows)
        show(plant, [payload], number, with_trigger=with_trigger)
        await plant.has_rows(before + 1)


BOUNDS = (
    ({"storm_consecutive": 3}, [BAD] * 3, True, "storm", HeldFor.CONSECUTIVE_REJECTS),
    ({"storm_share": 0.3, "storm_share_parts": 10}, [BAD, GOOD, GOOD] * 3 + [BAD], True, "storm_share",
     HeldFor.REJECT_SHARE),
    ({"storm_no_trigger_id": 3}, [GOOD] * 3, False, "storm_no_trigger_id", HeldFor.NO_TRIGGER_ID),
    ({"storm_unknown_product": 3}, [UNKNOWN] * 3, True, "storm_unknown_product", HeldFor.UNKNOWN_PRODUCT),
)  # fmt: skip


@pytest.mark.parametrize(("keys", "payloads", "with_trigger", "kind", "held_for"), BOUNDS)
async def test_bound_holds_the_gate_until_it_is_released(
    keys: dict[str, Any], payloads: list[bytes], with_trigger: bool, kind: str, held_for: HeldFor
) -> None:
    plant = Plant(settings(**keys))
    async with plant.running():
        await show_each(plant, payloads[:-1], with_trigger=with_trigger)
        await until(lambda: beat(plant) == READY)
        assert kind not in plant.telemetry.kinds()
        show(plant, payloads[-1:], 50, with_trigger=with_trigger)
        await until(lambda: beat(plant) == HELD)
        (alarm,) = (event for event in plant.telemetry.events if event.kind == kind)
        assert (alarm.severity, alarm.subject) == (Severity.ALARM, "gate")
        await until(lambda: plant.ledger.gates["gate"].held)
        assert plant.ledger.gates["gate"].held_for is held_for
        reply = await Talker(plant).tell("release", gate="gate")
        assert (reply["ok"], reply["detail"]) == (1, f"gate: released; it was held ({HELD_WORDS[held_for]})")
        await until(lambda: beat(plant) == READY)
        told = len(plant.line.told)
        plant.push(GOOD + b"#after", 60)
        await until(lambda: len(plant.line.told) > told)
        assert plant.line.told[-1].action is Action.PASS


async def test_held_gate_is_sent_no_pass_and_its_rows_say_so_while_rejects_are_sent() -> None:
    plant = Plant(settings(storm_consecutive=2))
    async with plant.running():
        show(plant, [BAD, BAD, GOOD, BAD])
        await plant.has_rows(4)
    assert [(row.action, row.published) for row in plant.rows()] == [
        (Action.REJECT, True),
        (Action.REJECT, True),
        (Action.PASS, False),
        (Action.REJECT, True),
    ]


@pytest.mark.parametrize("is_away", [True, False])
async def test_hold_survives_a_kill_with_and_without_its_row(is_away: bool) -> None:
    plant = Plant(settings(storm_consecutive=3))
    async with plant.running():
        show(plant, [BAD] * 2)
        await plant.has_rows(2)
        plant.ledger.is_available = not is_away
        show(plant, [BAD], 3)
        await until(lambda: beat(plant) == HELD)
        killed = Plant(settings(storm_consecutive=3), earlier=plant)  # what is on disk at this moment
    killed.ledger.is_available = True
    killed.ledger.gates["gate"] = plant.ledger.gates["gate"]
    async with killed.running():
        show(killed, [GOOD], 10)
        await until(lambda: any(row.trigger_id == 10 for row in killed.rows()))
        await until(lambda: beat(killed) == HELD)
        assert killed.line.told == [], "no pass after the hold began"
        await until(lambda: killed.ledger.gates["gate"].held)


async def test_hold_is_on_disk_before_its_decision_is_sent() -> None:
    plant = Plant(settings(storm_consecutive=1 + 1))
    publish, noted = plant.line.publish, []

    async def note(decision: Any, *may_go: Any) -> bool | None:
        noted.append((decision.trigger_id, [hold.held_for for hold in plant.journal.after_kill().holds()]))
        return await publish(decision, *may_go)

    plant.line.publish = note  # type: ignore[method-assign]  # what a kill at this moment would leave
    async with plant.running():
        show(plant, [BAD, BAD])
        await plant.has_rows(2)
    assert sorted(trigger_id for trigger_id, _ in noted) == [1, 2]
    assert noted[-1][1] == [HeldFor.CONSECUTIVE_REJECTS]


async def test_counts_go_on_after_a_restart() -> None:
    keys = {"storm_consecutive": 4, "storm_unknown_product": 4}
    plant = Plant(settings(**keys))
    async with plant.running():
        show(plant, [BAD] * 3)
        await plant.has_rows(3)
    again = Plant(settings(**keys), earlier=plant)
    async with again.running():
        await until(lambda: beat(again) == READY)
        show(again, [BAD], 4)
        await until(lambda: beat(again) == HELD)
    assert again.ledger.gates["gate"].held_for is HeldFor.CONSECUTIVE_REJECTS


async def test_released_gate_stays_released_after_a_kill() -> None:
    plant = Plant(settings(storm_consecutive=2))
    async with plant.running():
        show(plant, [BAD] * 2)
        await until(lambda: beat(plant) == HELD)
        await until(lambda: plant.ledger.gates["gate"].held)
        await Talker(plant).tell("release", gate="gate")
    again = Plant(settings(storm_consecutive=2), earlier=plant)
    async with again.running():
        show(again, [GOOD], 3)
        await until(lambda: len(again.line.told) == 1)
        await until(lambda: beat(again) == READY)


async def test_simulated_golden_and_waiting_frames_count_for_nothing() -> None:
    broker = FakeBroker()
    for number in range(3):
        broker.put(BAD + b"#waiting%d" % number, {"trigger-id": str(number)})
    plant = Plant(settings(storm_consecutive=2, storm_unknown_product=2), broker)
    async with plant.running():
        await plant.has_rows(3)
        for number in range(3):
            plant.push(BAD + b"#s%d" % number, 10 + number, simulated="true")
            plant.push(UNKNOWN + b"#s%d" % number, 20 + number, simulated="true")
        await plant.has_rows(9)
        await Talker(plant).tell("mode", mode="golden", expires_at=later())
        show(plant, [BAD] * 3, 40)
        await plant.has_rows(12)
        assert not plant.ledger.gates["gate"].held
    assert not {kind for kind in plant.telemetry.kinds() if kind.startswith("storm")}


async def test_frames_without_trigger_id_raise_an_alarm_where_nothing_is_held() -> None:
    plant = Plant(settings())
    async with plant.running():
        await show_each(plant, [GOOD] * (NO_TRIGGER_ALARM_AT - 1), with_trigger=False)
        assert "no_trigger_id" not in plant.telemetry.kinds()
        await show_each(plant, [GOOD] * NO_TRIGGER_ALARM_AT, 100, with_trigger=False)
        await until(lambda: beat(plant) == READY)
    (alarm,) = (event for event in plant.telemetry.events if event.kind == "no_trigger_id")
    assert (alarm.severity, alarm.subject) == (Severity.ALARM, "cam")
    assert all(row.cause is Cause.NO_TRIGGER_ID for row in plant.rows())


async def test_gate_without_bounds_is_never_held() -> None:
    plant = Plant(settings())
    async with plant.running():
        await show_each(plant, [BAD] * 30)
        await show_each(plant, [UNKNOWN] * 30, 31)
        assert not plant.ledger.gates["gate"].held
