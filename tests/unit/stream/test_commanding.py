"""A line that is told its job and mode: rows say so, the gate hears no more than it may, each command counts once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from inspector.agent.clock import SystemClock
from inspector.domain import Action, Cause, CommandName, CommandRequest, GateMode, Outcome, Severity
from inspector.stream.command_rights import CommandKey
from inspector.stream.pipeline.command_sieve import BURST
from inspector.stream.verdict_record import format_time
from tests.unit.stream.test_command_rights import LEADS, MES, signed
from tests.unit.stream.test_pipeline import BAD, GOOD, Plant, settings, until


class Talker:
    """Whoever tells the line something, under ids of its own."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._count = 0

    async def tell(self, name: str, *, is_retained: bool = False, **keys: Any) -> dict[str, Any]:
        """The reply to a command sent now, whose keys may be changed."""
        self._count += 1
        now = datetime.now(UTC)
        table = {"v": 1, "cmd_id": f"c{self._count}", "sent_at": format_time(now), "by": "ada", "reason": "a test"}
        before = len(self._plant.commands.replies)
        request = CommandRequest(CommandName(name), orjson.dumps(table | keys), now, is_retained)
        await self._plant.commands.asked.put(request)
        await until(lambda: len(self._plant.commands.replies) > before)
        told, reply = self._plant.commands.replies[-1]
        assert told == name
        return reply


def later(seconds: float = 60) -> str:
    return format_time(datetime.now(UTC) + timedelta(seconds=seconds))


async def test_job_from_a_trigger_on_stands_in_rows_and_its_product_is_checked() -> None:
    plant = Plant(settings())
    async with plant.running():
        plant.push(GOOD, 10)
        await plant.has_rows(1)
        reply = await Talker(plant).tell(
            "job", gate="gate", job_id="J2", lot="L2", product="beta", effective_from_trig=12
        )
        assert reply["ok"] == 1, reply
        assert reply["gates"] == [
            {"gate": "gate", "ep": 1, "mode": "auto", "job_id": "J2", "lot": "L2", "effective_from_trig": 12}
        ]
        for trigger in (11, 12, 14):
            plant.push(GOOD, trigger)
        plant.push(b"1:0.20", 15)
        await plant.has_rows(6)
    found = {row.trigger_id: row for row in plant.rows()}
    assert {number: (row.lot, row.job_id) for number, row in found.items()} == {
        10: (None, None),
        11: (None, None),
        12: ("L2", "J2"),
        13: ("L2", "J2"),
        14: ("L2", "J2"),
        15: ("L2", "J2"),
    }
    assert found[11].cause is Cause.OK
    assert found[12].cause is Cause.WRONG_PRODUCT
    assert found[13].cause is Cause.NOT_RECEIVED, "a part that was never seen belongs to the job too"
    assert found[15].cause is Cause.OK


async def test_job_for_parts_seen_already_begins_with_the_next_and_says_so() -> None:
    plant = Plant(settings())
    async with plant.running():
        plant.push(GOOD, 10)
        await plant.has_rows(1)
        talker = Talker(plant)
        reply = await talker.tell("job", job_id="J1", lot="L1", effective_from_trig=5)
        assert reply["gates"][0]["effective_from_trig"] == 11
        assert reply["detail"] == (
            "gate: job J1, lot L1 from trigger 11 on (before: no job). Parts before trigger 11 have been seen already"
        )
        plant.push(GOOD, 11)
        await plant.has_rows(2)
        await talker.tell("job", job_id=None)
        plant.push(GOOD, 12)
        await plant.has_rows(3)
    assert [row.lot for row in plant.rows()] == [None, "L1", None]


async def test_job_and_mode_outlive_a_restart() -> None:
    plant = Plant(settings())
    async with plant.running():
        talker = Talker(plant)
        await talker.tell("job", job_id="J1", lot="L1")
        await talker.tell("mode", mode="clean", expires_at=later())
    again = Plant(settings(), earlier=plant)
    async with again.running():
        again.push(GOOD, 1)
        await again.has_rows(1)
    (row,) = again.rows()
    assert (row.lot, row.mode, row.outcome, row.cause) == ("L1", GateMode.CLEAN, Outcome.UNINSPECTED, Cause.BYPASS)
    assert not again.line.told


async def test_mode_says_in_the_audit_until_when_it_was_and_is() -> None:
    """Else somebody could make a bypass of minutes one of hours, and the audit would say from bypass to bypass."""
    plant = Plant(settings())
    short, long = later(60), later(3600)
    async with plant.running():
        for until_then in (short, long):
            await Talker(plant).tell("mode", cmd_id=f"until {until_then}", mode="bypass", expires_at=until_then)
    orders = [order for command in plant.ledger.commands for order in command.orders]
    assert [(order.old, order.new) for order in orders] == [
        ("auto", f"bypass until {short}"),
        (f"bypass until {short}", f"bypass until {long}"),
    ]


async def test_golden_parts_are_judged_and_marked_and_never_told() -> None:
    plant = Plant(settings())
    async with plant.running():
        talker = Talker(plant)
        assert (await talker.tell("mode", mode="golden", expires_at=later()))["gates"][0]["mode"] == "golden"
        plant.push(BAD, 1)
        plant.push(GOOD, 2)
        await plant.has_rows(2)
        await talker.tell("mode", mode="auto")
        plant.push(BAD, 3)
        await plant.has_rows(3)
    golden, also_golden, real = plant.rows()
    assert (golden.outcome, golden.action, golden.mode) == (Outcome.REJECT, Action.NONE, GateMode.GOLDEN)
    assert (also_golden.outcome, also_golden.action) == (Outcome.PASS, Action.NONE)
    assert golden.cause_detail == "golden"
    assert (real.outcome, real.action, real.mode) == (Outcome.REJECT, Action.REJECT, GateMode.AUTO)
    assert [decision.trigger_id for decision in plant.line.told] == [3]


class Shifted(SystemClock):
    """A wall clock that a test sets forward; the rest of the time stays as it is."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead


async def test_mode_ends_by_itself() -> None:
    plant = Plant(settings())
    plant.clock = clock = Shifted()
    async with plant.running():
        await Talker(plant).tell("mode", mode="bypass", expires_at=later(60))
        assert plant.ledger.gates["gate"].mode is GateMode.BYPASS
        clock.ahead = timedelta(seconds=61)
        await until(lambda: "mode_expired" in plant.telemetry.kinds())
        (over,) = (event.detail for event in plant.telemetry.events if event.kind == "mode_expired")
        assert over.startswith("the mode bypass is over, which ada set at ")
        assert "a test" in over
        plant.push(GOOD, 1)
        await plant.has_rows(1)
        await until(lambda: plant.ledger.gates["gate"].mode is GateMode.AUTO)
    assert [row.mode for row in plant.rows()] == [GateMode.AUTO]
    assert [decision.trigger_id for decision in plant.line.told] == [1]


async def test_resync_begins_an_epoch_without_a_reset() -> None:
    plant = Plant(settings())
    async with plant.running():
        plant.push(GOOD, 900)
        await plant.has_rows(1)
        reply = await Talker(plant).tell("resync", gate="gate")
        assert reply["gates"][0]["ep"] == 2
        assert plant.ledger.gates["gate"].epoch == 2
        plant.push(GOOD, 1)
        await plant.has_rows(2)
    assert [(row.epoch, row.trigger_id) for row in plant.rows()] == [(1, 900), (2, 1)]
    assert "counter_reset" not in plant.telemetry.kinds()


async def test_resync_drops_decisions_that_are_under_way() -> None:
    plant = Plant(settings(window_ms=60_000))
    async with plant.running():
        plant.journal.is_full = True
        plant.push(GOOD, 900)
        await until(lambda: "journal_full" in plant.telemetry.kinds())
        await Talker(plant).tell("resync")
        plant.journal.is_full = False
        await plant.has_rows(1)
        plant.push(GOOD, 1)
        await plant.has_rows(2)
    assert [(row.epoch, row.published) for row in plant.rows()] == [(1, False), (2, True)]
    assert [decision.epoch for decision in plant.line.told] == [2]
    assert plant.ledger.gates["gate"].epoch == 2


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"is_retained": True}, "retained"),
        ({"sent_at": "2025-01-01T00:00:00Z"}, "expired"),
        ({"gate": "nowhere"}, "no gate nowhere"),
        ({"unknown": 1}, "no key unknown"),
    ],
)
async def test_command_that_may_not_be_obeyed_changes_nothing_and_is_answered(keys: dict[str, Any], said: str) -> None:
    plant = Plant(settings())
    async with plant.running():
        reply = await Talker(plant).tell("resync", **keys)
        assert (reply["ok"], reply["cmd_id"], reply["gates"]) == (0, "c1", [])
        assert said in reply["detail"]
    assert "command_refused" in plant.telemetry.kinds()
    assert not any(command.is_obeyed for command in plant.ledger.commands)
    assert "gate" not in plant.ledger.gates


async def test_command_id_that_was_used_is_refused_also_after_a_restart() -> None:
    plant = Plant(settings())
    async with plant.running():
        assert (await Talker(plant).tell("resync"))["ok"] == 1
    again = Plant(settings(), earlier=plant)
    async with again.running():
        reply = await Talker(again).tell("resync")
        assert reply["ok"] == 0
        assert "used before" in reply["detail"]
    assert again.ledger.gates["gate"].epoch == 2


async def test_command_while_the_database_is_away_is_refused() -> None:
    plant = Plant(settings())
    async with plant.running():
        plant.ledger.is_available = False
        talker = Talker(plant)
        reply = await talker.tell("mode", mode="bypass", expires_at=later())
        assert (reply["ok"], "database is away" in reply["detail"]) == (0, True)
        plant.ledger.is_available = True
        assert (await talker.tell("mode", mode="auto"))["ok"] == 1
        plant.push(GOOD, 1)
        await plant.has_rows(1)
    assert [row.mode for row in plant.rows()] == [GateMode.AUTO]


async def test_command_for_what_another_agent_has_is_left_to_it() -> None:
    plant = Plant(settings())
    plant.source.serves = lambda camera: False  # type: ignore[method-assign]  # another agent of the group has it
    async with plant.running():
        now = datetime.now(UTC)
        table = {"v": 1, "cmd_id": "c1", "sent_at": format_time(now), "by": "ada", "reason": "a test"}
        await plant.commands.asked.put(CommandRequest(CommandName.RESYNC, orjson.dumps(table), now))
        reply = await Talker(plant).tell("resync", gate="nowhere", cmd_id="c2")
    assert reply["cmd_id"] == "c2"
    assert [answer["cmd_id"] for _, answer in plant.commands.replies] == ["c2"]
    noted = [(command.cmd_id, command.is_obeyed) for command in plant.ledger.commands]
    assert noted == [("c1", False)], "the same message must not be obeyed when the gate has come here"


async def test_mode_until_9999_is_refused_with_its_reason_and_the_line_stays_in_auto() -> None:
    plant = Plant(settings())
    async with plant.running():
        for mode in ("bypass", "golden"):
            reply = await Talker(plant).tell("mode", gate="gate", expires_at="9999-12-31T23:59:59Z", mode=mode)
            assert reply["ok"] == 0
            assert "more than 12 h away" in reply["detail"]
        plant.push(GOOD, 1)
        await plant.has_rows(1)
    assert [row.mode for row in plant.rows()] == [GateMode.AUTO]


async def test_storm_holds_the_gate_until_a_person_releases_it() -> None:
    plant = Plant(settings(storm_consecutive=3))

    def is_told(ready: int, fault: int) -> bool:
        beat = plant.line.beats[-1][1] if plant.line.beats else {}
        return (beat.get("ready"), beat.get("fault")) == (ready, fault)

    async with plant.running():
        await until(lambda: is_told(1, 0))
        for trigger in range(1, 6):
            plant.push(BAD, trigger)
        await plant.has_rows(5)
        await until(lambda: is_told(0, 5))
        plant.push(GOOD, 6)
        await plant.has_rows(6)
    async with plant.running():
        await until(lambda: is_told(0, 5))
        before = plant.ledger.gates["gate"].held_since
        assert before is not None
        early = format_time(before - timedelta(seconds=2))
        reply = await Talker(plant).tell("release", gate="gate", cmd_id="early", sent_at=early)
        assert (reply["ok"], "was sent before gate was held" in reply["detail"]) == (0, True)
        assert is_told(0, 5)
        reply = await Talker(plant).tell("release", gate="gate")
        assert (reply["ok"], reply["detail"]) == (1, "gate: released; it was held (too many rejects in a row)")
        await until(lambda: is_told(1, 0))
    (record,) = plant.ledger.commands
    assert (record.name, record.by, record.reason) == (CommandName.RELEASE, "ada", "a test")
    assert plant.ledger.gates["gate"].held is False


async def test_job_from_a_trigger_that_the_gate_can_not_have_is_refused() -> None:
    plant = Plant(settings(trigger_modulus=256))
    async with plant.running():
        talker = Talker(plant)
        reply = await talker.tell("job", gate="gate", job_id="J1", lot="L1", effective_from_trig=256)
        assert (reply["ok"], "the last trigger of gate is 255" in reply["detail"]) == (0, True)
        reply = await talker.tell("job", gate="gate", job_id="J1", lot="L1", effective_from_trig=255)
        assert reply["ok"] == 1


async def test_counts_of_another_modulus_end_with_their_epoch() -> None:
    plant = Plant(settings(trigger_modulus=1024))
    async with plant.running():
        plant.push(GOOD, 300)
        await plant.has_rows(1)
    again = Plant(settings(trigger_modulus=256), earlier=plant)
    async with again.running():
        again.push(GOOD, 46)
        await again.has_rows(2)
        again.push(GOOD, 47)
        await again.has_rows(3)
    assert [(row.epoch, row.trigger_id, row.outcome) for row in again.rows()][1:] == [
        (2, 46, Outcome.PASS),
        (2, 47, Outcome.PASS),
    ]
    (event,) = [event for event in again.telemetry.events if event.kind == "modulus_changed"]
    assert "was 1024 and is 256" in event.detail
    third = Plant(settings(trigger_modulus=256), earlier=again)
    async with third.running():
        third.push(GOOD, 48)
        await third.has_rows(4)
    assert "modulus_changed" not in third.telemetry.kinds()


def flood(plant: Plant, name: str, number: int, **keys: Any) -> None:
    """So many commands at once, which nobody awaits the answer of."""
    now = datetime.now(UTC)
    for count in range(number):
        table = {"v": 1, "cmd_id": f"f{count}", "sent_at": format_time(now), "by": "x", "reason": "a flood", **keys}
        plant.commands.asked.put_nowait(CommandRequest(CommandName(name), orjson.dumps(table), now))


async def test_commands_that_change_nothing_leave_no_row_in_the_audit() -> None:
    plant = Plant(settings())
    async with plant.running():
        talker = Talker(plant)
        until_then = later()
        await talker.tell("mode", mode="clean", expires_at=until_then)
        await talker.tell("job", job_id="J1", lot="L1")
        before = audited(plant)
        assert len(before) == 2
        assert (await talker.tell("mode", mode="clean", expires_at=until_then))["ok"] == 1
        assert (await talker.tell("job", job_id="J1", lot="L1"))["ok"] == 1
        assert (await talker.tell("release", gate="gate"))["ok"] == 1
        assert audited(plant) == before, "the line stays as it is"
        await talker.tell("mode", mode="clean", expires_at=later(120))
        await talker.tell("job", job_id="J1", lot="L2")
        assert len(audited(plant)) == 4, "another end and another lot are changes"
    assert len(plant.ledger.commands) == 7, "each is known, so that none is obeyed twice"


def audited(plant: Plant) -> list[Any]:
    return [order for command in plant.ledger.commands for order in command.orders]


async def test_flood_of_refused_commands_is_told_once_and_writes_nothing() -> None:
    plant = Plant(settings())
    async with plant.running():
        flood(plant, "mode", 2000, mode="bypass", expires_at="9999-12-31T23:59:59Z")
        reply = await Talker(plant).tell("mode", mode="clean", expires_at=later())
        await until(lambda: any(answer["ok"] for _, answer in plant.commands.replies))
        reply = next(answer for _, answer in plant.commands.replies if answer["ok"])
        assert reply["gates"][0]["mode"] == "clean", "the genuine one among them is obeyed"
    assert [command.cmd_id for command in plant.ledger.commands] == ["c1"]
    told = [event for event in plant.telemetry.events if event.kind == "command_refused"]
    assert len(told) == 2, "one at once, one at the end"
    assert "1,999 commands refused" in told[1].detail
    assert plant.telemetry.labelled["commands_refused", "mode", "time"] == 2000


async def test_command_that_comes_twice_at_once_is_obeyed_once() -> None:
    plant = Plant(settings())
    async with plant.running():
        flood(plant, "resync", 10)
        flood(plant, "resync", 20)
        await until(lambda: plant.telemetry.labelled["commands_obeyed", "resync"] == 20)
    assert plant.telemetry.labelled["commands_refused", "resync", "repeated"] == 10
    assert plant.ledger.gates["gate"].epoch == 21


async def test_flood_of_one_key_spends_its_own_budget_only() -> None:
    plant = Plant(settings())
    plant.command_keys = [LEADS, MES]
    async with plant.running():
        for number in range(3 * BURST):
            plant.commands.asked.put_nowait(keyed(MES, "job", number, by="mes", job_id=f"J{number}"))
        plant.commands.asked.put_nowait(keyed(LEADS, "resync", 0))
        await until(lambda: plant.telemetry.labelled["commands_obeyed", "resync"] == 1)
    obeyed = plant.telemetry.labelled["commands_obeyed", "job"]
    assert BURST <= obeyed < 2 * BURST
    assert plant.telemetry.labelled["commands_refused", "job", "too_many"] == 3 * BURST - obeyed


def keyed(key: CommandKey, name: str, number: int, **keys: Any) -> CommandRequest:
    """A command that was signed just now."""
    moment = {"sent_at": format_time(datetime.now(UTC)), "cmd_id": f"{key.name}{number}"}
    return signed(name, key.name, key.secret, prefix="plant/site/area/line", **moment, **keys)


async def test_unsigned_command_where_a_key_is_configured_is_an_alarm_and_changes_nothing() -> None:
    plant = Plant(settings())
    plant.command_keys = [LEADS]
    async with plant.running():
        reply = await Talker(plant).tell("mode", mode="bypass", expires_at=later())
        assert (reply["ok"], "is not signed" in reply["detail"]) == (0, True)
        request = keyed(LEADS, "mode", 0, mode="bypass", expires_at=later())
        plant.commands.asked.put_nowait(request)
        await until(lambda: any(answer["ok"] for _, answer in plant.commands.replies))
    (event,) = [event for event in plant.telemetry.events if event.kind == "command_unsigned"]
    assert event.severity is Severity.ALARM
    assert plant.ledger.gates["gate"].mode is GateMode.BYPASS
    (record,) = plant.ledger.commands
    assert (record.by, record.reason) == ("ada", "checked (key leads)")
