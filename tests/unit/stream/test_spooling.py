"""While the ledger is slow or away the journal stands in; while the journal is full, cameras wait and gates know."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from inspector.domain import Cause, Decision, GateState, ResultId, Verdict
from inspector.errors import JournalFull
from inspector.store.journal.journal import FileJournal
from inspector.store.journal.segments import MARK
from inspector.stream.gate_fault import Fault
from inspector.testing.journal import InMemoryJournal
from inspector.testing.ledger import InMemoryLedger
from inspector.testing.lineup import FakeLineup
from tests.unit.stream.test_pipeline import BAD, FREE, GOOD, Plant, settings, until


class SlowLedger(InMemoryLedger):
    """Answers a write when `answers` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = asyncio.Event()
        self.writes: list[list[ResultId]] = []

    async def record(
        self, verdicts: Sequence[Verdict], decisions: Sequence[tuple[Decision, bool]], gates: Sequence[GateState]
    ) -> list[ResultId]:
        self.writes.append([verdict.result_id for verdict in verdicts])
        await self.answers.wait()
        return await super().record(verdicts, decisions, gates)


class NarrowJournal(InMemoryJournal):
    """Takes every other entry only, as one at its bound does whose segments are freed one by one."""

    is_narrow = True
    refused = 0

    def _check_room(self) -> None:
        super()._check_room()
        if self.is_narrow and self.refused % 2 == 0:
            self.refused += 1
            raise JournalFull("The journal is full (test).")
        self.refused += self.is_narrow


class UnsyncedJournal(InMemoryJournal):
    """Takes entries, and has no room to make them durable while `has_no_room`."""

    has_no_room = True
    refused = 0

    async def sync(self) -> None:
        if self.has_no_room:
            self.refused += 1
            raise JournalFull("The disk of the journal is full (test).")
        await super().sync()


def frame_ids(plant: Plant) -> list[str | None]:
    return [row.frame_id for row in plant.rows()]


async def test_ledger_that_does_not_answer_holds_up_no_acknowledgement_and_writes_each_row_once() -> None:
    plant = Plant(settings())
    ledger = plant.ledger = SlowLedger()
    async with plant.running():
        for trigger in range(1, 6):
            plant.push(BAD, trigger)
        await until(lambda: not plant.source.broker.kept)
        assert (len(plant.line.told), plant.rows()) == (5, [])
        ledger.answers.set()
        await plant.has_rows(5)
    written = [result_id for write in ledger.writes for result_id in write]
    assert len(written) == len(set(written)) == 5
    assert [row.trigger_id for row in plant.rows()] == [1, 2, 3, 4, 5]
    assert [kept.sent for kept in ledger.decisions.values()] == [1] * 5
    assert "ledger_down" not in plant.telemetry.kinds()


async def test_rows_that_waited_come_before_newer_ones() -> None:
    plant = Plant(FREE)
    async with plant.running():
        plant.ledger.is_available = False
        for number in range(30):
            plant.push(GOOD, frame_id=number)
        await until(lambda: not plant.source.broker.kept)
        plant.ledger.is_available = True
        for number in range(30, 60):
            plant.push(GOOD, frame_id=number)
        await plant.has_rows(60)
    assert frame_ids(plant) == [str(number) for number in range(60)]
    assert plant.journal.read([row.result_id for row in plant.rows()]) == [], "each is written once"


async def test_rows_left_by_an_agent_that_died_while_the_ledger_was_away_are_written_in_order() -> None:
    plant = Plant(FREE)
    async with plant.running():
        plant.ledger.is_available = False
        for number in range(300):
            plant.push(GOOD, frame_id=number)
        await until(lambda: not plant.source.broker.kept)
    assert plant.rows() == []
    plant.ledger.is_available = True
    after = Plant(FREE, earlier=plant)
    async with after.running():
        assert frame_ids(after) == [str(number) for number in range(300)]


async def test_decision_of_a_frame_told_late_is_kept_while_its_row_waits() -> None:
    plant = Plant(settings(window_ms=400, reserve_ms=20))
    plant.lineup = FakeLineup(gate=threading.Event())
    async with plant.running():
        plant.ledger.is_available = False
        plant.push(GOOD, 17)
        await until(lambda: len(plant.line.told) == 1)
        assert plant.lineup.gate is not None
        plant.lineup.gate.set()
        await until(lambda: not plant.source.broker.kept)
        plant.ledger.is_available = True
        await plant.has_rows(1)
    assert (plant.rows()[0].cause, plant.rows()[0].level) == (Cause.LATE, 0.2)
    assert [kept.sent for kept in plant.ledger.decisions.values()] == [1]


async def test_journal_full_holds_back_the_camera_until_there_is_room_and_says_so() -> None:
    plant = Plant(FREE)
    state: Callable[[], dict[str, Any]] = lambda: plant.sink.states.get("agent/agent/state", {})  # noqa: E731 - short
    async with plant.running() as pipeline:
        await until(lambda: pipeline.fault == "none")
        plant.journal.is_full = True
        plant.push(GOOD, frame_id=0)
        await until(lambda: state().get("journal") == "full")
        assert state()["fault"] == "journal_full"
        assert state()["gauges"]["journal_bytes"] == state()["gauges"]["journal_limit_bytes"]
        taken = plant.telemetry.counters["deliveries"]
        for number in range(1, 40):
            plant.push(GOOD, frame_id=number)
        await asyncio.sleep(0.3)
        assert plant.telemetry.counters["deliveries"] <= taken + 1, "one may have been on its way"
        plant.journal.is_full = False
        await plant.has_rows(40)
        await until(lambda: state()["journal"] == "ok")
    assert frame_ids(plant) == [str(number) for number in range(40)]
    assert plant.telemetry.kinds().count("journal_full") == plant.telemetry.kinds().count("journal_has_room") == 1


async def test_journal_full_now_and_then_is_one_edge_and_gates_are_not_ready() -> None:
    plant = Plant(settings())
    journal = plant.journal = NarrowJournal()
    async with plant.running():
        for trigger in range(1, 7):
            plant.push(BAD, trigger)
        await plant.has_rows(6)
        await until(lambda: bool(plant.line.beats) and plant.line.beats[-1][1]["fault"] == Fault.JOURNAL_FULL)
        assert plant.line.beats[-1][1]["ready"] == 0
        journal.is_narrow = False
        await until(lambda: plant.line.beats[-1][1]["ready"] == 1)
    assert plant.telemetry.kinds().count("journal_full") == plant.telemetry.kinds().count("journal_has_room") == 1


async def test_entries_that_find_no_room_to_be_durable_are_not_acknowledged_and_end_nothing() -> None:
    plant = Plant(settings())
    journal = plant.journal = UnsyncedJournal()
    async with plant.running():
        plant.ledger.is_available = False
        for trigger in range(1, 4):
            plant.push(BAD, trigger)
        await until(lambda: bool(plant.line.beats) and plant.line.beats[-1][1]["fault"] == Fault.JOURNAL_FULL)
        refused = journal.refused
        await until(lambda: journal.refused > refused)
        assert plant.line.beats[-1][1]["ready"] == 0
        assert len(plant.source.broker.kept) == 3
        journal.has_no_room = False
        await until(lambda: not plant.source.broker.kept)
        plant.ledger.is_available = True
        await plant.has_rows(3)
        await until(lambda: plant.line.beats[-1][1]["ready"] == 1)
    assert [row.trigger_id for row in plant.rows()] == [1, 2, 3]
    assert plant.telemetry.kinds().count("journal_full") == plant.telemetry.kinds().count("journal_has_room") == 1


async def test_disk_that_fills_behind_a_verdict_ends_nothing_and_leaves_each_frame_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Journal and database on one disk: the verdict still fits, the note that it was published does not."""
    is_full = False
    write = os.write

    def written(file: int, data: bytes) -> int:
        if is_full and data.startswith(MARK):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    monkeypatch.setattr("inspector.store.journal.segments.os.write", written)
    plant = Plant(settings())
    publish = plant.line.publish

    async def fill(decision: Decision, *may_go: Any) -> bool | None:
        nonlocal is_full
        is_full = True
        plant.ledger.is_available = False
        return await publish(decision, *may_go)

    async with FileJournal(tmp_path, max_bytes=1 << 20, segment_bytes=1 << 17) as journal:
        plant.journal = journal  # type: ignore[assignment]  # the plant's own is in memory
        monkeypatch.setattr(plant.line, "publish", fill)
        async with plant.running():
            plant.push(BAD, 1)
            await until(lambda: not plant.source.broker.kept)  # the entry is durable, and only the note waits
            plant.push(BAD, 2)
            await until(lambda: "journal_full" in plant.telemetry.kinds())
            assert len(plant.source.broker.kept) == 1
            is_full, plant.ledger.is_available = False, True
            monkeypatch.setattr(plant.line, "publish", publish)
            await plant.has_rows(2)
            await until(lambda: not plant.source.broker.kept)
    assert [row.trigger_id for row in plant.rows()] == [1, 2]
    assert plant.rows()[0].published
