"""A challenge that fails while its end is being stored has failed, in the store too."""

from __future__ import annotations

import asyncio

from inspector.domain import Action, Challenge, ChallengeResult, GateState, HeldFor
from inspector.testing.ledger import InMemoryLedger
from tests.unit.stream.test_challenging import ack, ended, held_for, show
from tests.unit.stream.test_commanding import Talker
from tests.unit.stream.test_pipeline import BAD, GOOD, Plant, settings, until


class SlowLedger(InMemoryLedger):
    """A ledger that takes the end of a challenge when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def record_challenge(
        self, challenge: Challenge, gate: GateState, was: ChallengeResult = ChallengeResult.OPEN
    ) -> bool:
        self.is_asked.set()
        await self.may_answer.wait()
        return await super().record_challenge(challenge, gate, was)


async def challenge_that_fails_while_it_is_stored(plant: Plant) -> SlowLedger:
    """All reference parts were right; while that is being stored the PLC says that the bad one was passed by hand."""
    ledger = plant.ledger
    assert isinstance(ledger, SlowLedger)
    await Talker(plant).tell("golden", good=1, bad=1, within_s=60, gate="gate")
    show(plant, [GOOD, BAD])
    await until(lambda: len(plant.line.told) == 2)
    ack(plant, 2, 2)
    await ledger.is_asked.wait()
    ack(plant, 2, 1, src=4)
    await until(lambda: "golden_failed" in plant.telemetry.kinds())
    return ledger


async def test_challenge_that_fails_while_its_pass_is_stored_has_failed_everywhere() -> None:
    plant = Plant(settings())
    plant.ledger = SlowLedger()
    async with plant.running():
        ledger = await challenge_that_fails_while_it_is_stored(plant)
        ledger.may_answer.set()
        await until(lambda: (last := ended(plant)) is not None and last.result is ChallengeResult.FAILED)
        await until(lambda: held_for(plant) is HeldFor.GOLDEN_FAILED)
        plant.push(GOOD + b"#9", 9)
        await plant.has_rows(3)
    assert "golden_passed" not in plant.telemetry.kinds()
    assert [decision.trigger_id for decision in plant.line.told if decision.action is Action.PASS] == [1]
    assert [reply["ok"] for _, reply in plant.commands.replies] == [1, 0], "begun, then failed"
    last = ended(plant)
    assert last is not None
    assert [(each.action, each.source) for each in last.acks] == [(2, 1), (1, 4)]
    assert plant.ledger.gates["gate"].golden.settled_at is None, "no challenge counts as passed"


async def test_challenge_is_not_ordered_while_the_end_of_another_is_stored() -> None:
    plant = Plant(settings())
    plant.ledger = SlowLedger()
    async with plant.running():
        ledger = await challenge_that_fails_while_it_is_stored(plant)
        order = {"good": 1, "bad": 1, "within_s": 60, "gate": "gate"}
        refused = await Talker(plant).tell("golden", cmd_id="early", **order)
        assert (refused["ok"], "is being stored" in refused["detail"]) == (0, True)
        ledger.may_answer.set()
        await until(lambda: held_for(plant) is HeldFor.GOLDEN_FAILED)
        await until(lambda: (last := ended(plant)) is not None and last.result is ChallengeResult.FAILED)
        await Talker(plant).tell("golden", cmd_id="later", **order)
        show(plant, [GOOD, BAD], first=11)
        await until(lambda: len(plant.line.told) == 4)
        ack(plant, 12, 2)
        await until(lambda: "golden_passed" in plant.telemetry.kinds())
        plant.push(GOOD + b"#20", 20)
        await plant.has_rows(5)
    assert [each.result for each in plant.ledger.challenges] == [ChallengeResult.FAILED, ChallengeResult.PASSED]
    assert plant.line.told[-1].trigger_id == 20
