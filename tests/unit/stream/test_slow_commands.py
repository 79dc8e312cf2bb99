"""What happens at a line while a command is being stored: it is never undone by that command."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from inspector.domain import (
    Action,
    Challenge,
    ChallengeResult,
    CommandName,
    CommandRecord,
    CommandRequest,
    GateState,
)
from inspector.stream.verdict_record import format_time
from inspector.testing.ledger import InMemoryLedger
from tests.unit.stream.test_accounts import fresh, line
from tests.unit.stream.test_commanding import Talker
from tests.unit.stream.test_pipeline import BAD, GOOD, Plant, settings, until


class SlowLedger(InMemoryLedger):
    """A ledger that takes a command when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def record_command(
        self, command: CommandRecord, gates: Sequence[GateState], challenge: Challenge | None = None
    ) -> bool:
        self.is_asked.set()
        await self.may_answer.wait()
        return await super().record_command(command, gates, challenge)


def replies_to(plant: Plant, name: str) -> list[dict[str, Any]]:
    return [reply for told, reply in plant.commands.replies if told == name]


def order(name: str, cmd_id: str, **keys: Any) -> CommandRequest:
    """A command to the gate that comes now."""
    now = datetime.now(UTC)
    table = {"v": 1, "cmd_id": cmd_id, "sent_at": format_time(now), "by": "ada", "reason": "a test", "gate": "gate"}
    return CommandRequest(CommandName(name), orjson.dumps(table | keys), now)


@pytest.mark.parametrize("seen_before", [0, 1], ids=["nothing to release", "a reject to forget"])
@pytest.mark.parametrize(
    ("name", "keys"), [("release", {}), ("golden", {"good": 1, "bad": 1, "within_s": 60})], ids=["release", "golden"]
)
async def test_command_never_ends_a_hold_that_began_while_it_was_stored(
    name: str, keys: dict[str, Any], seen_before: int
) -> None:
    plant = Plant(settings(storm_consecutive=3))
    ledger = plant.ledger = SlowLedger()
    async with plant.running():
        for trigger in range(seen_before):
            plant.push(BAD, trigger + 1)
        await plant.has_rows(seen_before)
        talking = asyncio.create_task(Talker(plant).tell(name, gate="gate", **keys))
        await ledger.is_asked.wait()
        for trigger in range(seen_before, 4):
            plant.push(BAD, trigger + 1)
        await until(lambda: "storm" in plant.telemetry.kinds())
        await plant.has_rows(4)
        ledger.may_answer.set()
        reply = await talking
        assert (reply["ok"], "was held while this was stored" in reply["detail"]) == (0, True)
        plant.push(GOOD, 9)
        await until(lambda: any(row.trigger_id == 9 for row in plant.rows()))
        assert not [told for told in plant.line.told if told.action is Action.PASS]
        await Talker(plant).tell("release", gate="gate", cmd_id="again")
        await until(lambda: any(each["cmd_id"] == "again" for each in replies_to(plant, "release")))
        released = replies_to(plant, "release")[-1]
        assert (released["ok"], "too many rejects in a row" in released["detail"]) == (1, True)
        plant.push(GOOD, 10)
        await until(lambda: any(told.trigger_id == 10 for told in plant.line.told))
        await until(lambda: all(each.result is ChallengeResult.FAILED for each in plant.ledger.challenges))
    assert plant.ledger.gates["gate"].held is False, "a later release is newer than what was undone"


@pytest.mark.parametrize(
    ("name", "keys", "words"),
    [
        ("release", {}, "was sent before gate was held"),
        ("golden", {"good": 1, "bad": 1, "within_s": 60}, "is held since"),
    ],
    ids=["release", "golden"],
)
async def test_command_never_ends_a_hold_that_began_while_it_waited_for_another_one(
    name: str, keys: dict[str, Any], words: str
) -> None:
    plant = Plant(settings(storm_consecutive=3))
    ledger = plant.ledger = SlowLedger()
    async with plant.running():
        await plant.commands.asked.put(order("mode", "before", mode="auto"))
        await ledger.is_asked.wait()
        await plant.commands.asked.put(order(name, "waits", **keys))
        for trigger in range(1, 4):
            plant.push(BAD, trigger)
        await until(lambda: "storm" in plant.telemetry.kinds())
        ledger.may_answer.set()
        await until(lambda: bool(replies_to(plant, name)))
        (reply,) = replies_to(plant, name)
        assert (reply["ok"], words in reply["detail"]) == (0, True), reply["detail"]
        assert (await Talker(plant).tell("release", gate="gate", cmd_id="again"))["ok"] == 1


async def test_release_never_ends_a_hold_at_which_another_alarm_came_while_it_was_stored() -> None:
    plant = Plant(line(storm_consecutive=3, account_share=0.4, account_parts=5, account_holds=True))
    ledger = plant.ledger = SlowLedger()
    async with plant.running():
        for trigger in range(1, 4):
            plant.push(BAD, trigger)
        await until(lambda: "storm" in plant.telemetry.kinds())
        talking = asyncio.create_task(Talker(plant).tell("release", gate="gate"))
        await ledger.is_asked.wait()
        for trigger in range(11, 16):
            plant.acks.reported.put_nowait(fresh(plant, trigger, action=1, source=2))
        await until(lambda: "account_beyond_bound" in plant.telemetry.kinds(), 20)
        ledger.may_answer.set()
        reply = await talking
        assert (reply["ok"], "was held while this was stored" in reply["detail"]) == (0, True)
        assert (await Talker(plant).tell("release", gate="gate", cmd_id="again"))["ok"] == 1


async def test_hold_that_a_slow_command_met_outlives_a_restart() -> None:
    plant = Plant(settings(storm_consecutive=3))
    ledger = plant.ledger = SlowLedger()
    async with plant.running():
        talking = asyncio.create_task(Talker(plant).tell("release", gate="gate"))
        await ledger.is_asked.wait()
        for trigger in range(1, 4):
            plant.push(BAD, trigger)
        await plant.has_rows(3)
        ledger.may_answer.set()
        await talking
    assert plant.ledger.gates["gate"].held is True


async def test_job_begins_behind_the_parts_that_came_while_it_was_stored() -> None:
    plant = Plant(settings())
    ledger = plant.ledger = SlowLedger()
    async with plant.running():
        plant.push(GOOD, 10)
        await plant.has_rows(1)
        order = Talker(plant).tell("job", gate="gate", job_id="J2", lot="L2", effective_from_trig=11)
        talking = asyncio.create_task(order)
        await ledger.is_asked.wait()
        plant.push(GOOD, 11)
        plant.push(GOOD, 12)
        await plant.has_rows(3)
        ledger.may_answer.set()
        reply = await talking
        assert reply["gates"][0]["effective_from_trig"] == 13
        assert "Parts before trigger 13 have been seen already" in reply["detail"]
        plant.push(GOOD, 13)
        await plant.has_rows(4)
    assert [row.lot for row in plant.rows()] == [None, None, None, "L2"]
    assert [job.from_count for job in plant.ledger.gates["gate"].jobs] == [13], "stored where it really began"
