"""Golden challenges on the road: passed, failed, without ack, out of time, restarted; and what the gate is told."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from inspector.config.line_sections import CameraSection
from inspector.domain import Action, Cause, Challenge, ChallengeResult, GateAction, GateMode, HeldFor, Outcome
from tests.unit.stream import test_pipeline
from tests.unit.stream.test_commanding import Talker, later
from tests.unit.stream.test_holding import HELD, READY, beat
from tests.unit.stream.test_pipeline import BAD, GOOD, UNKNOWN, Plant, settings, until

ORDER = {"good": 2, "bad": 1, "within_s": 60, "gate": "gate"}
MASTERS = [GOOD, GOOD, BAD]


def ack(plant: Plant, trigger: int, act: int, src: int = 1, done: int = 1, epoch: int = 1) -> None:
    plant.acks.reported.put_nowait(GateAction("gate", epoch, trigger, act, src, done, datetime.now(UTC)))


def show(plant: Plant, payloads: list[bytes], first: int = 1, **headers: Any) -> None:
    for number, payload in enumerate(payloads, first):
        plant.push(payload + b"#%d" % number, number, **headers)


def ended(plant: Plant) -> Challenge | None:
    """The newest challenge, once it has ended."""
    last = plant.ledger.challenges[-1] if plant.ledger.challenges else None
    return None if last is None or last.result is ChallengeResult.OPEN else last


def held_for(plant: Plant) -> HeldFor | None:
    return plant.ledger.gates["gate"].held_for


async def has_failed(plant: Plant, why: str) -> Challenge:
    await until(lambda: ended(plant) is not None)
    await until(lambda: beat(plant) == HELD)
    challenge = ended(plant)
    assert challenge is not None
    assert challenge.result is ChallengeResult.FAILED
    assert why in challenge.detail
    assert (plant.ledger.gates["gate"].held, held_for(plant)) == (True, HeldFor.GOLDEN_FAILED)
    assert plant.ledger.gates["gate"].mode is GateMode.AUTO
    assert "golden_failed" in plant.telemetry.kinds()
    assert "golden_passed" not in plant.telemetry.kinds()
    return challenge


async def test_challenge_passed_is_stored_and_the_line_goes_on() -> None:
    plant = Plant(settings())
    async with plant.running():
        reply = await Talker(plant).tell("golden", product="alpha", **ORDER)
        assert (reply["ok"], reply["gates"][0]["mode"]) == (1, "golden")
        show(plant, MASTERS)
        await until(lambda: len(plant.line.told) == 3)
        assert ended(plant) is None, "the reject is not confirmed"
        await until(lambda: beat(plant) == READY)
        ack(plant, 3, 2)
        await until(lambda: ended(plant) is not None)
        await until(lambda: len(plant.commands.replies) == 2)
        await until(lambda: plant.line.beats[-1][1]["mode"] == 1)
        show(plant, [GOOD], 4)
        await until(lambda: len(plant.line.told) == 4)
    assert [told.action for told in plant.told] == [Action.PASS, Action.PASS, Action.REJECT, Action.PASS]
    assert [row.mode for row in plant.rows()] == [GateMode.GOLDEN] * 3 + [GateMode.AUTO]
    assert all(row.cause_detail == "golden" for row in plant.rows()[:3])
    challenge = ended(plant)
    assert challenge is not None
    assert (challenge.result, challenge.by, challenge.reason) == (ChallengeResult.PASSED, "ada", "a test")
    assert (challenge.product, challenge.version) == ("alpha", 1)
    assert [seen.outcome for seen in challenge.seen] == [Outcome.PASS, Outcome.PASS, Outcome.REJECT]
    assert [found.trigger_id for found in challenge.acks] == [3]
    name, last = plant.commands.replies[-1]
    assert (name, last["ok"], last["challenge"]["result"]) == ("golden", 1, "passed")
    assert "golden_passed" in plant.telemetry.kinds()


@pytest.mark.parametrize(("trigger", "acts"), [(2, [(2, 1), (1, 4)]), (1, [(1, 1), (2, 2)])])
async def test_challenge_with_acks_that_contradict_each_other_fails_and_keeps_both(
    trigger: int, acts: list[tuple[int, int]]
) -> None:
    plant = Plant(settings())
    async with plant.running():
        await Talker(plant).tell("golden", good=1, bad=2, within_s=60, gate="gate")
        show(plant, [GOOD, BAD])
        await until(lambda: len(plant.line.told) == 2)
        for act, src in acts:
            ack(plant, trigger, act, src)
        challenge = await has_failed(plant, f"the PLC acknowledged reference part {trigger} with act {acts[1][0]}")
        assert "ack_contradicts" in plant.telemetry.kinds()
    assert [(found.action, found.source) for found in challenge.acks] == acts


async def test_challenge_by_part_ids_takes_them_in_any_order_and_tells_nothing_of_other_parts() -> None:
    plant = Plant(settings())
    async with plant.running():
        await Talker(plant).tell("golden", **ORDER, good_parts=["G1", "G2"], bad_parts=["B1"])
        for number, (payload, part) in enumerate([(BAD, "B1"), (GOOD, "ordinary"), (GOOD, "G2"), (GOOD, "G1")], 1):
            show(plant, [payload], number, part_id=part)
        await until(lambda: len(plant.line.told) == 3)
        ack(plant, 1, 2)
        await until(lambda: ended(plant) is not None)
    challenge = ended(plant)
    assert challenge is not None
    assert challenge.result is ChallengeResult.PASSED
    assert [told.trigger_id for told in plant.told] == [1, 3, 4]
    assert [row.action for row in plant.rows()] == [Action.REJECT, Action.NONE, Action.PASS, Action.PASS]


async def test_part_after_the_last_reference_part_is_told_nothing() -> None:
    plant = Plant(settings())
    async with plant.running():
        await Talker(plant).tell("golden", **ORDER)
        show(plant, [*MASTERS, GOOD, BAD])
        await plant.has_rows(5)
        ack(plant, 3, 2)
        await until(lambda: ended(plant) is not None)
    assert [told.trigger_id for told in plant.told] == [1, 2, 3]
    assert len(plant.rows()) == 5, "no view of the other parts is missing"


@pytest.mark.parametrize(
    ("payloads", "why"),
    [
        ([BAD], "reference part 1 should be pass and is reject"),
        ([GOOD, GOOD, GOOD], "reference part 3 should be reject and is pass"),
        ([UNKNOWN], "reference part 1 should be pass and is unjudged (unknown_product)"),
        ([b"1:0.20"], "shows beta, not alpha"),
    ],
)
async def test_challenge_with_a_wrong_part_fails_and_holds_the_gate(payloads: list[bytes], why: str) -> None:
    plant = Plant(settings())
    async with plant.running():
        await Talker(plant).tell("golden", product="alpha", **ORDER)
        show(plant, payloads)
        await has_failed(plant, why)
        told = len(plant.line.told)
        show(plant, [GOOD], 50)
        await until(lambda: any(row.trigger_id == 50 for row in plant.rows()))
        (row,) = (row for row in plant.rows() if row.trigger_id == 50)
        assert (row.outcome, row.cause, row.action) == (Outcome.UNJUDGED, Cause.NOT_RELEASED, Action.QUARANTINE)
        assert [decision.action for decision in plant.line.told[told:]] == [Action.QUARANTINE]
        name, last = plant.commands.replies[-1]
        assert (name, last["ok"], last["challenge"]["result"]) == ("golden", 0, "failed")
        is_sent = {decision.trigger_id for decision in plant.line.told}
        seen = last["challenge"]["seen"]
        assert len(seen) == len(payloads)
        # The last part fails the challenge before its decision leaves; a pass is withheld by the hold.
        assert [each["told"] for each in seen] == [each["trigger_id"] in is_sent for each in seen]


@pytest.mark.parametrize(
    ("trigger", "act", "src", "done"), [(3, 2, 2, 1), (3, 1, 1, 0), (3, 2, 1, 0), (1, 2, 2, 1), (2, 1, 2, 0)]
)
async def test_challenge_with_another_ack_than_told_fails(trigger: int, act: int, src: int, done: int) -> None:
    plant = Plant(settings())
    async with plant.running():
        await Talker(plant).tell("golden", **ORDER)
        show(plant, MASTERS)
        await until(lambda: len(plant.line.told) == 3)
        ack(plant, trigger, act, src, done)
        await has_failed(plant, f"the PLC acknowledged reference part {trigger} with act {act}, src {src}, done {done}")


@pytest.mark.parametrize(
    ("shown", "why"), [(3, "0 of 1 rejects were acknowledged"), (1, "1 of 3 reference parts came")]
)
async def test_challenge_out_of_time_fails(shown: int, why: str) -> None:
    plant = Plant(settings())
    async with plant.running():
        await Talker(plant).tell("golden", **ORDER | {"within_s": 1})
        show(plant, MASTERS[:shown])
        await has_failed(plant, why)


async def test_challenge_of_a_gate_without_acks_needs_none() -> None:
    plant = Plant(settings(golden_acks=False))
    async with plant.running():
        await Talker(plant).tell("golden", **ORDER)
        show(plant, MASTERS)
        await until(lambda: ended(plant) is not None)
    assert plant.ledger.challenges[-1].result is ChallengeResult.PASSED


async def test_challenge_with_a_decision_that_was_not_sent_fails() -> None:
    plant = Plant(settings(golden_acks=False))
    async with plant.running():
        await Talker(plant).tell("golden", **ORDER)
        plant.line.is_connected = False
        show(plant, MASTERS[:1])
        await has_failed(plant, "the decision about reference part 1 could not be sent in time")


async def test_challenge_at_a_gate_for_one_part_at_a_time_takes_acks_in_their_order() -> None:
    plant = Plant(settings(match="single_in_flight"))
    async with plant.running():
        await Talker(plant).tell("golden", **ORDER)
        for number, (payload, act) in enumerate(zip(MASTERS, (1, 1, 2), strict=True), 1):
            plant.push(payload + b"#%d" % number)
            await until(lambda: len(plant.line.told) == number)  # noqa: B023 - of this turn
            ack(plant, 0, act)
        await until(lambda: ended(plant) is not None)
    assert plant.ledger.challenges[-1].result is ChallengeResult.PASSED


async def test_reference_parts_have_their_places_in_the_order_in_which_they_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first_may_go, plain = threading.Event(), test_pipeline.decode

    def decode(payload: bytes, camera: CameraSection) -> Any:
        if payload.startswith(GOOD):
            assert first_may_go.wait(30)
        return plain(payload, camera)

    monkeypatch.setattr(test_pipeline, "decode", decode)
    plant = Plant(settings())
    async with plant.running():
        await Talker(plant).tell("golden", **ORDER | {"good": 1})
        show(plant, [GOOD, BAD])
        await until(lambda: [told.trigger_id for told in plant.line.told] == [2])
        first_may_go.set()
        await until(lambda: len(plant.line.told) == 2)
        ack(plant, 2, 2)
        await until(lambda: ended(plant) is not None)
    assert plant.ledger.challenges[-1].result is ChallengeResult.PASSED


async def test_ack_that_the_broker_delivers_again_confirms_no_second_reject() -> None:
    plant = Plant(settings(match="single_in_flight"))

    def report(packet_id: int, act: int, src: int, *, is_redelivered: bool = False) -> None:
        said = GateAction("gate", 1, 0, act, src, 1, datetime.now(UTC), packet_id=packet_id)
        plant.acks.reported.put_nowait(replace(said, is_redelivered=is_redelivered))

    async with plant.running():
        await Talker(plant).tell("golden", **ORDER | {"good": 1, "bad": 2})
        for number, payload in enumerate([GOOD, BAD, BAD], 1):
            plant.push(payload + b"#%d" % number)
            await until(lambda: len(plant.line.told) == number)  # noqa: B023 - of this turn
            if number < 3:
                report(number, number, 1)
        report(2, 2, 1, is_redelivered=True)
        report(3, 1, 2)
        await has_failed(plant, "the PLC acknowledged reference part 3 with act 1, src 2, done 1")


@pytest.mark.parametrize("is_complete", [False, True])
async def test_challenge_that_a_kill_cuts_short_fails_and_no_part_passes(is_complete: bool) -> None:
    plant = Plant(settings())
    async with plant.running():
        await Talker(plant).tell("golden", **ORDER)
        if is_complete:  # all parts came and were acknowledged, and the database was away
            show(plant, MASTERS)
            await until(lambda: len(plant.line.told) == 3)
            plant.ledger.is_available = False
            ack(plant, 3, 2)
            await until(plant.acks.reported.empty)
        again = Plant(settings(), earlier=plant)
    again.ledger.is_available = True
    async with again.running():
        show(again, [GOOD], 10)
        await has_failed(again, "the agent was stopped in the middle of it")
        await until(lambda: any(row.trigger_id == 10 for row in again.rows()))
        assert Action.PASS not in {decision.action for decision in again.line.told}
        assert again.ledger.challenges[-1].by == "ada"


async def test_challenge_passed_while_the_database_is_away_waits_for_it() -> None:
    plant = Plant(settings())
    async with plant.running():
        await Talker(plant).tell("golden", **ORDER)
        show(plant, MASTERS)
        await until(lambda: len(plant.line.told) == 3)
        await plant.has_rows(3)
        plant.ledger.is_available = False
        ack(plant, 3, 2)
        show(plant, [GOOD], 4)
        await until(lambda: len(plant.sink.verdicts) == 4)
        assert plant.sink.verdicts[-1].mode is GateMode.GOLDEN
        assert len(plant.line.told) == 3
        plant.ledger.is_available = True
        await until(lambda: ended(plant) is not None)
        await until(lambda: plant.line.beats[-1][1]["mode"] == 1)
    assert plant.ledger.challenges[-1].result is ChallengeResult.PASSED


async def test_simulated_and_waiting_frames_are_no_reference_parts() -> None:
    plant = Plant(settings(golden_acks=False))
    async with plant.running():
        await Talker(plant).tell("golden", **ORDER)
        show(plant, [BAD], 100, simulated="true")
        await plant.has_rows(1)
        plant.source.lose_link()
        show(plant, [BAD], 101)
        plant.source.restore_link()
        await plant.has_rows(2)
        assert ended(plant) is None
        await until(lambda: beat(plant) == READY)
        show(plant, MASTERS, 102)
        await until(lambda: ended(plant) is not None)
    assert plant.ledger.challenges[-1].result is ChallengeResult.PASSED
    assert [told.trigger_id for told in plant.told] == [102, 103, 104]


async def test_gate_that_failed_is_free_after_a_challenge_is_passed() -> None:
    plant = Plant(settings())
    async with plant.running():
        talker = Talker(plant)
        await talker.tell("golden", **ORDER)
        show(plant, [BAD])
        await has_failed(plant, "reference part 1")
        await until(lambda: len(plant.commands.replies) == 2)
        await talker.tell("golden", **ORDER)
        await until(lambda: beat(plant) == READY)
        show(plant, MASTERS, 11)
        await until(lambda: any(told.trigger_id == 13 for told in plant.line.told))
        ack(plant, 13, 2)
        await until(lambda: plant.ledger.challenges[-1].result is ChallengeResult.PASSED)
        await until(lambda: not plant.ledger.gates["gate"].held)
        show(plant, [GOOD], 20)
        await until(lambda: plant.line.told[-1].trigger_id == 20)
        assert plant.line.told[-1].action is Action.PASS


async def test_gate_that_failed_is_free_after_a_release() -> None:
    plant = Plant(settings())
    async with plant.running():
        talker = Talker(plant)
        await talker.tell("golden", **ORDER)
        show(plant, [BAD])
        await has_failed(plant, "reference part 1")
        await until(lambda: len(plant.commands.replies) == 2)
        assert (await talker.tell("release", gate="gate"))["ok"] == 1
        show(plant, [GOOD], 20)
        await until(lambda: plant.line.told[-1].trigger_id == 20)


async def test_commands_that_would_disturb_a_challenge_are_refused() -> None:
    plant = Plant(settings())
    async with plant.running():
        talker = Talker(plant)
        await talker.tell("golden", **ORDER)
        for name, keys in (("mode", {"mode": "auto"}), ("release", {}), ("golden", ORDER)):
            reply = await talker.tell(name, **{"gate": "gate", **keys})
            assert (reply["ok"], "is under way" in reply["detail"]) == (0, True)
        assert (await talker.tell("job", gate="gate", job_id="J"))["ok"] == 1


async def test_challenge_that_can_not_be_held_is_refused_with_its_reason() -> None:
    plant = Plant(settings(storm_consecutive=2))
    async with plant.running():
        talker = Talker(plant)
        for keys, why in (
            ({"product": "gamma"}, "No version of gamma is live"),
            ({"expires_at": later()}, "send the command mode with the mode golden"),
        ):
            assert why in (await talker.tell("golden", **ORDER, **keys))["detail"]
        show(plant, [BAD, BAD])
        await until(lambda: beat(plant) == HELD)
        assert "release it first" in (await talker.tell("golden", **ORDER))["detail"]
    assert plant.ledger.challenges == []


async def test_changeover_makes_a_challenge_due_and_holds_the_gate_until_one_is_passed() -> None:
    plant = Plant(settings(golden_after_changeover=True, golden_within_min=0))
    async with plant.running():
        talker = Talker(plant)
        await until(lambda: beat(plant) == READY)
        await talker.tell("job", gate="gate", job_id="J1", product="alpha")
        await until(lambda: beat(plant) == HELD)
        await until(lambda: plant.ledger.gates["gate"].held)
        assert held_for(plant) is HeldFor.GOLDEN_MISSING
        due, missing = (event for event in plant.telemetry.events if event.kind in ("golden_due", "golden_missing"))
        assert "the changeover to alpha" in due.detail
        assert "the changeover to alpha" in missing.detail
        show(plant, [GOOD])
        await plant.has_rows(1)
        assert plant.rows()[0].cause is Cause.NOT_RELEASED
        await talker.tell("golden", **ORDER)
        show(plant, MASTERS, 11)
        await until(lambda: any(told.trigger_id == 13 for told in plant.line.told))
        ack(plant, 13, 2)
        await until(lambda: not plant.ledger.gates["gate"].held and ended(plant) is not None)
        assert plant.ledger.challenges[-1].result is ChallengeResult.PASSED
        assert plant.ledger.challenges[-1].product == "alpha", "the product of the job is the one that must come"
        await until(lambda: beat(plant) == READY)
        await until(lambda: len(plant.commands.replies) == 3)
        await talker.tell("job", gate="gate", job_id="J2", product="alpha")
        assert plant.telemetry.kinds().count("golden_due") == 1


@pytest.mark.parametrize("is_released", [True, False])
async def test_missing_challenge_outlives_a_restart_unless_a_person_released_the_gate(is_released: bool) -> None:
    keys: dict[str, Any] = {"golden_at": ["00:00"], "golden_zone": "UTC", "golden_within_min": 0}
    plant = Plant(settings(**keys))
    async with plant.running():
        await until(lambda: beat(plant) == HELD)
        await until(lambda: "gate" in plant.ledger.gates and plant.ledger.gates["gate"].held)
        if is_released:
            assert (await Talker(plant).tell("release", gate="gate"))["ok"] == 1
            await until(lambda: beat(plant) == READY)
    again = Plant(settings(**keys), earlier=plant)
    async with again.running():
        await until(lambda: beat(again) == (READY if is_released else HELD))
        show(again, [GOOD])
        await again.has_rows(1)
        assert again.rows()[-1].cause is (Cause.OK if is_released else Cause.NOT_RELEASED)


async def test_activation_makes_a_challenge_due_and_the_line_goes_on_meanwhile() -> None:
    plant = Plant(settings(golden_after_activation=True, golden_within_min=30))
    async with plant.running() as pipeline:
        await until(lambda: beat(plant) == READY)
        assert "golden_due" not in plant.telemetry.kinds()
        pipeline._lineups._versions = ("alpha:2",)
        await until(lambda: "golden_due" in plant.telemetry.kinds())
        await until(lambda: "gate" in plant.ledger.gates)
        assert plant.ledger.gates["gate"].golden.due_for == "the activation of alpha:2"
        show(plant, [GOOD])
        await until(lambda: len(plant.line.told) == 1)
        await until(lambda: beat(plant) == READY)
    assert "golden_missing" not in plant.telemetry.kinds()


async def test_frame_at_a_gate_that_is_not_released_keeps_its_own_cause_in_the_detail() -> None:
    plant = Plant(settings(golden_at=["00:00"], golden_zone="UTC", golden_within_min=0))
    async with plant.running():
        await until(lambda: beat(plant) == HELD)
        show(plant, [UNKNOWN, BAD, GOOD])
        await plant.has_rows(3)
    assert {row.cause for row in plant.rows()} == {Cause.NOT_RELEASED}
    details = {row.trigger_id: row.cause_detail or "" for row in plant.rows()}
    assert "the frame itself: unknown_product" in details[1]
    assert "the frame itself: anomaly" in details[2]
    assert "the frame itself" not in details[3]
