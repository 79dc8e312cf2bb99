"""Skipped parts on the road: told once and rightly, whatever comes late, and over a kill, a stop and a takeover."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from inspector.domain import Cause, Gap, Outcome, Severity
from inspector.stream.digest import Digest
from inspector.stream.pipeline import Pipeline
from inspector.testing.ledger import InMemoryLedger
from inspector.testing.source import FakeBroker
from tests.unit.stream.test_pipeline import GOOD, Died, Plant, settings, until
from tests.unit.stream.test_takeover import GroupAgent, push, rows

PATIENT = {"window_ms": 60_000, "miss_grace_ms": 60_000}
"""No grace of this gate is over during a test."""

QUICK = {"window_ms": 20_000, "miss_grace_ms": 30}


def frame_of(trigger: int) -> bytes:
    return GOOD + b"#%d" % trigger


def show(plant: Plant, *triggers: int) -> None:
    for trigger in triggers:
        plant.push(frame_of(trigger), trigger)


def missed_of(plant: Plant) -> list[int | None]:
    return sorted(row.trigger_id for row in plant.rows() if row.outcome is Outcome.UNINSPECTED)


def details(plant: Plant, kind: str) -> list[str]:
    return [event.detail for event in plant.telemetry.events if event.kind == kind]


def missed_text(count: int, triggers: str) -> str:
    """What the alarm says: a PLC may pass or reject such a part by its default, which the agent can't know."""
    return (
        f"no frame came for {count} part{'' if count == 1 else 's'}: trigger ids {triggers}; the gate was told nothing "
        "of them, so the PLC's own default decides. Look at the camera, its trigger and its network; see: inspector "
        "results list --outcome uninspected"
    )


@pytest.mark.parametrize(
    ("order", "of_unknown_age"), [((5, 7, 6, 8), []), ((101, 100, 102), [100]), ((9, 12, 11, 10, 13), [])]
)
async def test_run_frames_in_another_order_are_no_miss_no_alarm_and_no_reset(
    order: tuple[int, ...], of_unknown_age: list[int]
) -> None:
    """A frame before the first one is late: no earlier frame bounds how long it was held up."""
    plant = Plant(settings(**PATIENT))
    async with plant.running():
        show(plant, *order)
        await until(lambda: not plant.source.broker.kept)
    rows = {(row.trigger_id, row.cause, row.epoch) for row in plant.rows()}
    assert rows == {(trigger, Cause.LATE if trigger in of_unknown_age else Cause.OK, 1) for trigger in order}
    assert sorted(told.trigger_id or 0 for told in plant.line.told) == sorted({*order} - {*of_unknown_age})
    assert not {"uninspected", "counter_reset"} & set(plant.telemetry.kinds())
    assert plant.ledger.gates["gate"].gaps == ()


@pytest.mark.parametrize(
    ("then", "severity", "said"),
    [
        (1000, Severity.ALARM, "trigger 1000 after 105, farther than max_gap: either its counter was set anew, or"),
        (1, Severity.WARNING, "trigger 1 after 105, so its counter has begun again"),
    ],
)
async def test_run_jump_beyond_max_gap_is_an_alarm_that_says_how_many_parts_may_be_missing(
    then: int, severity: Severity, said: str
) -> None:
    plant = Plant(settings(**QUICK))
    async with plant.running():
        show(plant, 104, 105)
        await until(lambda: not plant.source.broker.kept)
        plant.source.push(b"later", {"trigger-id": str(then)})
        await until(lambda: "counter_reset" in plant.telemetry.kinds())
    (event,) = [event for event in plant.telemetry.events if event.kind == "counter_reset"]
    assert (event.severity, event.subject) == (severity, "gate")
    assert said in event.detail
    assert ("894 parts were not seen" in event.detail) is (then == 1000)


@pytest.mark.parametrize(
    ("then", "severity", "said"),
    [
        (
            40,
            Severity.ALARM,
            "trigger 40 after 105, farther than max_gap: either its counter was set anew, or 54 parts",
        ),
        (80, Severity.WARNING, "trigger 80 after 105, so its counter has begun again"),
    ],
    ids=["over the wrap", "back"],
)
async def test_run_jump_of_a_counter_that_wraps_is_told_by_the_shorter_way(
    then: int, severity: Severity, said: str
) -> None:
    plant = Plant(settings(**QUICK | {"trigger_modulus": 120, "max_gap": 5}))
    async with plant.running():
        show(plant, 104, 105)
        await until(lambda: not plant.source.broker.kept)
        plant.source.push(b"later", {"trigger-id": str(then)})
        await until(lambda: "counter_reset" in plant.telemetry.kinds())
    (event,) = [event for event in plant.telemetry.events if event.kind == "counter_reset"]
    assert (event.severity, said in event.detail) == (severity, True)


async def test_run_many_misses_are_two_alarms_with_their_numbers() -> None:
    plant = Plant(settings(**QUICK))
    async with plant.running():
        show(plant, 1, 4)
        await until(lambda: len(missed_of(plant)) == 2)
        for trigger in (6, 8, 12):
            show(plant, trigger)
            await until(lambda: max(row.trigger_id or 0 for row in plant.rows()) == trigger)  # noqa: B023 - of this turn
        await until(lambda: len(missed_of(plant)) == 7)
    assert missed_of(plant) == [2, 3, 5, 7, 9, 10, 11]
    assert details(plant, "uninspected") == [
        missed_text(2, "2 to 3"),
        missed_text(5, "5, 7, 9 to 11"),
    ]


async def test_run_part_that_comes_after_its_row_corrects_it_and_says_so_once() -> None:
    plant = Plant(settings(**QUICK))
    async with plant.running():
        show(plant, 1, 4)
        await until(lambda: len(missed_of(plant)) == 2)
        show(plant, 3, 2)
        await plant.has_rows(6)
    by_trigger = {row.trigger_id: row for row in plant.rows() if row.outcome is Outcome.PASS}
    corrected = {row.trigger_id: row.corrected_by for row in plant.rows() if row.outcome is Outcome.UNINSPECTED}
    assert corrected == {2: by_trigger[2].result_id, 3: by_trigger[3].result_id}
    assert by_trigger.keys() == {1, 2, 3, 4}
    assert "counter_reset" not in plant.telemetry.kinds()
    assert plant.telemetry.counters["misses_corrected"] == 2
    assert 1 <= len(details(plant, "miss_corrected")) <= 2


async def test_run_frames_that_come_with_a_new_connection_are_no_misses() -> None:
    """A camera without MQTT 5 sends what the broker lost after the frames of now."""
    plant = Plant(settings(window_ms=20_000, miss_grace_ms=1))
    async with plant.running():
        show(plant, 1)
        await plant.has_rows(1)
        plant.source.break_link()
        show(plant, 26)
        await plant.has_rows(2)
        await asyncio.sleep(0.2)  # many times the grace
        show(plant, *range(2, 26))
        await until(lambda: not plant.source.broker.kept)
    assert missed_of(plant) == []
    assert "uninspected" not in plant.telemetry.kinds()


@contextlib.asynccontextmanager
async def killed(plant: Plant) -> AsyncIterator[Pipeline]:
    """The agent runs and is then killed: nothing is finished, and nothing is stored any more."""
    pipeline = plant.pipeline()
    async with plant.source:
        await pipeline.recover()
        run = asyncio.create_task(pipeline.run())
        await pipeline.has_started.wait()
        yield pipeline
        run.cancel()
        with contextlib.suppress(asyncio.CancelledError, BaseExceptionGroup):
            await run


@pytest.mark.parametrize("is_ledger_away", [False, True])
@pytest.mark.parametrize("comes_after_all", [False, True])
async def test_run_part_skipped_before_a_kill_is_settled_after_it(is_ledger_away: bool, comes_after_all: bool) -> None:
    plant = Plant(settings(**PATIENT))
    async with killed(plant):
        show(plant, 1)
        await until(lambda: not plant.source.broker.kept)
        plant.ledger.is_available = not is_ledger_away
        show(plant, 4)
        await until(lambda: not plant.source.broker.kept)
    plant.ledger.is_available = True
    assert missed_of(plant) == []
    if not is_ledger_away:
        assert plant.ledger.gates["gate"].gaps == (Gap(1, 2, 3),)
    later = Plant(settings(**(PATIENT if comes_after_all else QUICK)), earlier=plant)
    async with later.running():
        if comes_after_all:
            show(later, 3, 2)
        await later.has_rows(4)
    assert missed_of(later) == ([] if comes_after_all else [2, 3])
    assert sorted(row.trigger_id or 0 for row in later.rows()) == [1, 2, 3, 4]
    assert details(later, "uninspected") == ([] if comes_after_all else [missed_text(2, "2 to 3")])
    assert later.ledger.gates["gate"].gaps == ()
    assert "counter_reset" not in later.telemetry.kinds()


async def test_run_missed_part_in_the_journal_alone_is_not_missed_twice_after_a_kill() -> None:
    plant = Plant(settings(**QUICK))
    async with killed(plant):
        show(plant, 1, 3)
        await until(lambda: not plant.source.broker.kept)
        plant.ledger.is_available = False
        await until(lambda: any(verdict.trigger_id == 2 for verdict in plant.sink.verdicts))
    plant.ledger.is_available = True
    assert missed_of(plant) == []
    later = Plant(settings(**QUICK), earlier=plant)
    async with later.running():
        show(later, 4)
        await later.has_rows(4)
        await asyncio.sleep(0.1)  # more than the grace
    assert missed_of(later) == [2]
    assert details(later, "uninspected") == []
    assert later.ledger.gates["gate"].gaps == ()


async def test_stop_settles_the_parts_whose_grace_is_over_and_stores_the_others() -> None:
    plant = Plant(settings(window_ms=20_000, miss_grace_ms=300))
    async with plant.running():
        show(plant, 1, 3)
        await plant.has_rows(2)
    assert missed_of(plant) == [2]
    assert details(plant, "uninspected") == [missed_text(1, "2")]
    patient = Plant(settings(**PATIENT), earlier=plant)
    async with patient.running():
        show(patient, 5)
        await patient.has_rows(4)
    assert missed_of(patient) == [2]
    assert patient.ledger.gates["gate"].gaps == (Gap(1, 4, 4),)


async def test_stream_that_moves_to_another_agent_takes_its_skipped_parts_along() -> None:
    broker, ledger = FakeBroker(), InMemoryLedger()
    config = settings(**QUICK)
    first, second = GroupAgent(broker, ledger, settings(**PATIENT)), GroupAgent(broker, ledger, config)
    async with first.running(), second.running():
        first.source.restore_link()
        for trigger in (1, 4):
            push(first.source, trigger)
        await until(lambda: len(ledger.rows) == 2 and not broker.kept)
        first.source.lose_link()
        first.source.serves = lambda camera: False  # type: ignore[method-assign, assignment]
        second.source.restore_link()
        push(second.source, 3)
        push(second.source, 5)
        await until(lambda: len(ledger.rows) == 5 and not broker.kept)
    found = [(row.trigger_id, row.cause) for row in rows(ledger) if row.outcome is Outcome.UNINSPECTED]
    assert found == [(2, Cause.NOT_RECEIVED)]
    assert ledger.gates["gate"].gaps == ()
    assert second.telemetry.kinds().count("uninspected") == 1
    assert "uninspected" not in first.telemetry.kinds()


@pytest.mark.parametrize("stage", ["admitted", "journaled", "published", "recorded", "acknowledged"])
async def test_run_part_that_fills_a_gap_and_dies_at_a_stage_is_neither_lost_nor_missed(stage: str) -> None:
    plant = Plant(settings(**PATIENT))
    seen: list[str] = []

    def die_at_the_third(name: str) -> None:
        seen.append(name)
        if name == stage and seen.count(stage) == 3:
            raise Died

    pipeline = plant.pipeline(die_at_the_third)
    async with plant.source:
        await pipeline.recover()
        run = asyncio.create_task(pipeline.run())
        await pipeline.has_started.wait()
        for count, trigger in enumerate((1, 3, 2), start=1):
            show(plant, trigger)
            await until(lambda: run.done() or len(plant.rows()) == count)  # noqa: B023 - of this turn
        with contextlib.suppress(BaseExceptionGroup):
            await asyncio.wait_for(run, 10)
    later = Plant(settings(**PATIENT), earlier=plant)
    async with later.running():
        await until(lambda: not later.source.broker.kept)
        await later.has_rows(3)
    assert sorted(row.trigger_id or 0 for row in later.rows()) == [1, 2, 3]
    assert missed_of(later) == []
    assert later.ledger.gates["gate"].gaps == ()


def test_digest_item_that_is_settled_before_it_is_told_is_not_told() -> None:
    digest: Digest[int] = Digest(10)
    digest.add("gate", [1])
    assert digest.take(0) == [("gate", [1])]
    digest.add("gate", [2, 3])
    digest.discard("gate", lambda number: number == 3)
    digest.discard("other", lambda _: True)
    assert digest.take(10) == [("gate", [2])]
    digest.add("gate", [4])
    digest.discard("gate", lambda _: True)
    assert not digest.is_waiting
