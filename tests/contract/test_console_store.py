"""What the console reads and keeps, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from inspector.agent.clock import SystemClock
from inspector.domain import (
    Action,
    AgentPresence,
    Cause,
    LateOutcome,
    Outcome,
    ResultId,
    Review,
    ReviewLabel,
    Role,
    Severity,
    Verdict,
)
from inspector.errors import UsageError
from inspector.store import audit, reviews
from inspector.store.console import hours, people
from inspector.store.console.agents import (
    SeenAgent,
    events_between,
    list_agents,
    list_events,
    list_gates,
    note_alive,
    note_ended,
    note_processor,
    processor_at,
)
from inspector.store.console.hours import HourCount, RecentPieces, count_hours, keep_hour
from inspector.store.console.levels import newest_scores
from inspector.store.console.queue import QueueKind, waiting
from inspector.store.console.rejects import newest_rejects
from inspector.store.console.rows import Place, RowFilter, count_minutes, list_rows, newest_seq, place_of, rows_after
from inspector.store.database import Database
from inspector.store.ledger.ledger import SqlLedger
from inspector.store.tables import results as results_table
from inspector.testing.samples import event_of, missed_verdict_of_part, verdict_of_part

HOUR = timedelta(hours=1)
T0 = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
WAITING = {
    "outcome": Outcome.UNJUDGED,
    "cause": Cause.LATE,
    "action": Action.REJECT,
    "late_outcome": LateOutcome.WAITING,
}
REJECT = {"outcome": Outcome.REJECT, "cause": Cause.ANOMALY, "action": Action.REJECT, "level": 1.5}


def at(number: int, seconds: float, **changes: Any) -> Verdict:
    """Part `number`, received so long after six o'clock."""
    moment = T0 + timedelta(seconds=seconds)
    return verdict_of_part(number, received_at=moment, decided_at=moment, **changes)


async def record(database: Database, *rows: Verdict) -> None:
    await SqlLedger(database, SystemClock()).record(list(rows), [], [])


def total(counts: list[HourCount]) -> int:
    return sum(each.results for each in counts)


class ConsoleStoreContract:
    async def test_hours_are_counted_piece_by_piece(self, database: Database) -> None:
        await record(database, at(1, 10), at(2, 3590), at(3, 3610, **REJECT), at(4, 8000, simulated=True))
        counts = await count_hours(database, T0, T0 + 3 * HOUR)
        assert [(each.hour, each.outcome, each.results) for each in counts] == [
            ("2026-03-02T06", "pass", 2),
            ("2026-03-02T07", "reject", 1),
        ]
        assert total(await count_hours(database, T0 + timedelta(seconds=11), T0 + HOUR)) == 1

    async def test_kept_hours_stay_when_their_rows_are_gone(self, database: Database) -> None:
        await record(database, at(1, 10), at(2, 20, camera="cam2"))
        now = T0 + 2 * HOUR
        while await keep_hour(database, now, 2 * HOUR):
            pass
        await record(database, at(3, 30))
        assert total(await count_hours(database, T0, T0 + HOUR)) == 2
        assert total(await count_hours(database, T0, T0 + HOUR - timedelta(seconds=1))) == 3

    async def test_an_hour_is_kept_only_when_it_is_settled(self, database: Database) -> None:
        await record(database, at(1, 10))
        assert await keep_hour(database, T0 + HOUR + timedelta(minutes=29), HOUR)  # the hour before
        await record(database, at(2, 20))
        assert total(await count_hours(database, T0, T0 + HOUR)) == 2

    async def test_remembered_pieces_say_what_a_plain_count_says(self, database: Database) -> None:
        recent, until = RecentPieces(), T0 + 2 * HOUR - timedelta(seconds=7)

        async def check(results: int) -> None:
            plain = await count_hours(database, T0 + timedelta(seconds=3), until)
            for _ in range(2):  # counted, and remembered
                found = await count_hours(database, T0 + timedelta(seconds=3), until, recent)
                assert sorted(found, key=str) == sorted(plain, key=str)
            assert total(plain) == results

        missed_at = T0 + timedelta(seconds=650)
        missed = missed_verdict_of_part(9, received_at=missed_at, decided_at=missed_at)
        unknown = at(10, 1300, product=None, product_version=None, **WAITING)
        await record(database, at(1, 1), at(2, 10), at(3, 599.999), at(4, 600), at(5, 4200, **REJECT), missed, unknown)
        await check(6)
        await record(database, at(6, 20), at(7, 7190), at(8, 7195))  # received before rows that are counted already
        await check(8)
        await record(database, at(9, 651, gate=missed.gate))  # the frame of the missed part
        await check(8)
        ledger = SqlLedger(database, SystemClock())
        finding = replace(unknown, late_outcome=LateOutcome.REJECT, product="nut", product_version=4, judged_at=until)
        assert await ledger.amend([finding]) == []
        await check(8)
        assert "nut" in {each.product for each in await count_hours(database, T0, until, recent)}
        async with database.writing() as connection:
            await connection.execute(results_table.delete().where(results_table.c.received_at < T0 + HOUR / 2))
        await check(2)

    async def test_pieces_that_hold_still_are_not_counted_again(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await record(database, at(1, 10), at(2, 700))
        recent = RecentPieces()
        counted: list[datetime] = []
        plain = hours._counted

        async def count(database: Database, begin: datetime, end: datetime) -> list[HourCount]:
            counted.append(begin)
            return await plain(database, begin, end)

        monkeypatch.setattr(hours, "_counted", count)
        until = T0 + timedelta(minutes=25)
        for _ in range(3):
            assert total(await count_hours(database, T0, until, recent)) == 2
        ten = timedelta(minutes=10)
        assert counted == [T0, T0 + ten, T0 + 2 * ten, T0 + 2 * ten, T0 + 2 * ten]

    async def test_minutes_are_counted_up_to_a_row(self, database: Database) -> None:
        await record(database, at(1, 10), at(2, 59), at(3, 61), at(4, 62, simulated=True))
        seq = await newest_seq(database)
        counts = await count_minutes(database, T0, seq)
        assert sorted((each.minute, each.results) for each in counts) == [(T0, 2), (T0 + timedelta(minutes=1), 1)]
        assert sum(each.results for each in await count_minutes(database, T0, seq - 3)) == 1

    async def test_rows_come_after_a_number_and_in_pages(self, database: Database) -> None:
        rows = [at(number, number // 2, **(REJECT if number % 3 else {})) for number in range(30)]
        await record(database, *rows)
        assert [row.result_id for row in await rows_after(database, 0, 100)] == [row.result_id for row in rows]
        rejects = [row.result_id for row in rows if row.outcome is Outcome.REJECT][::-1]
        found: list[str] = []
        place: Place | None = None
        while page := await list_rows(database, RowFilter(outcomes=(Outcome.REJECT,), before=place), 4):
            found += [row.result_id for row in page]
            place = Place(page[-1].seq, page[-1].received_at)
        assert found == rejects
        middle = await place_of(database, rows[10].result_id)
        after = await list_rows(database, RowFilter(camera="cam1", after=middle), 3)
        assert [row.result_id for row in after] == [row.result_id for row in rows[13:10:-1]]

    async def test_queue_holds_what_nobody_has_reviewed(self, database: Database) -> None:
        rows = [at(1, 1, **REJECT), at(2, 2, **REJECT), at(3, 3, level=0.95), at(4, 4, level=0.1)]
        await record(database, *rows)
        word = Review(ResultId(rows[1].result_id), ReviewLabel.BAD, "otto", T0)
        await reviews.add(database, SystemClock(), word)

        async def queued(kind: QueueKind, keep: float = 1.0) -> list[str]:
            return [row.result_id for row in await waiting(database, kind, keep_passes=keep, limit=10)]

        assert await queued(QueueKind.REJECT) == [rows[0].result_id]
        assert await queued(QueueKind.NEAR_MISS) == [rows[2].result_id]
        assert await queued(QueueKind.DRAWN_PASS) == [rows[3].result_id, rows[2].result_id]
        assert await queued(QueueKind.DRAWN_PASS, keep=0.0) == []
        await reviews.undo(database, SystemClock(), rows[1].result_id, by="otto", reason="a slip")
        assert await queued(QueueKind.REJECT) == [rows[1].result_id, rows[0].result_id]

    async def test_scores_are_of_one_version(self, database: Database) -> None:
        await record(database, at(1, 1, score=1.0), at(2, 2, score=2.0, product_version=2), at(3, 3, score=3.0))
        assert [part.score for part in await newest_scores(database, "bolt", 1, 10)] == [3.0, 1.0]
        assert await newest_scores(database, "nut", 1, 10) == []

    async def test_rejects_of_a_time_come_newest_first(self, database: Database) -> None:
        await record(database, at(1, 1, **REJECT), at(2, 2), at(3, 3, **REJECT), at(4, 99, **REJECT))
        found = await newest_rejects(database, T0, T0 + timedelta(seconds=60), 10)
        assert [part.result_id for part in found] == [at(3, 3).result_id, at(1, 1).result_id]

    async def test_signs_of_life_replace_each_other(self, database: Database) -> None:
        for seconds in (0, 5):
            await note_alive(database, SeenAgent("a", "inspector 1", T0, T0 + timedelta(seconds=seconds)), "c")
        (agent,) = await list_agents(database)
        assert agent.seen_at == T0 + timedelta(seconds=5)
        assert await list_gates(database) == []

    async def test_end_of_an_agent_stays_until_it_is_there_again(self, database: Database) -> None:
        ledger = SqlLedger(database, SystemClock())
        presence = AgentPresence("a", "i", "s", "inspector 1", "c", T0)
        for begin in (
            lambda: note_alive(database, SeenAgent("a", "inspector 1", T0, T0), "c"),
            lambda: ledger.record_owned(presence, {}, {}),
        ):
            await begin()
            await note_ended(database, "a", T0 + HOUR, "SIGINT")
            (ended,) = await list_agents(database)
            assert (ended.seen_at, ended.ended_at, ended.ended_by) == (T0 + HOUR, T0 + HOUR, "SIGINT")
            await begin()
            assert (await list_agents(database))[0].ended_at is None

    async def test_processor_of_a_time_is_the_last_one_noted_before_it(self, database: Database) -> None:
        for hours, model in ((0, "A"), (1, "A"), (2, "B"), (2, "C")):
            await note_processor(database, "a", T0 + hours * HOUR, model)
        found = [await processor_at(database, "a", T0 + hours * HOUR) for hours in (-1, 0, 1, 2, 9)]
        assert found == [None, "A", "A", "C", "C"]

    async def test_events_are_listed_by_severity_and_between_times(self, database: Database) -> None:
        events = [event_of("camera_silent", at=T0), event_of("other", at=T0 + HOUR, severity=Severity.ALARM)]
        await SqlLedger(database, SystemClock()).record_events(events)
        assert [each.event.kind for each in await list_events(database, limit=9)] == ["other", "camera_silent"]
        alarms = await list_events(database, severity=Severity.ALARM, limit=9)
        assert [each.event.kind for each in alarms] == ["other"]
        assert [each.kind for each in await events_between(database, ["camera_silent"], T0, T0 + HOUR)] == [
            "camera_silent"
        ]

    async def test_session_ends_with_its_time_and_with_its_persons_rights(self, database: Database) -> None:
        await people.add_person(database, "eva", Role.ENGINEER, "h", now=T0, by="a", reason="r")
        await people.add_person(database, "otto", Role.OPERATOR, "h", now=T0, by="a", reason="r")
        await people.open_session(database, "token", "otto", "csrf", now=T0, until=T0 + HOUR)
        found = await people.find_session(database, "token", T0)
        assert found is not None
        assert (found.person.name, found.csrf) == ("otto", "csrf")
        assert await people.find_session(database, "token", T0 + HOUR) is None
        await people.set_role(database, "otto", Role.OPERATOR, is_locked=True, now=T0, by="eva", reason="left")
        assert await people.find_session(database, "token", T0) is None
        assert await audit.verify(database) == []

    async def test_person_is_added_once_and_the_last_engineer_stays(self, database: Database) -> None:
        await people.add_person(database, "eva", Role.ENGINEER, "h", now=T0, by="a", reason="r")
        with pytest.raises(UsageError, match="already"):
            await people.add_person(database, "eva", Role.VIEWER, "h", now=T0, by="a", reason="r")
        with pytest.raises(UsageError, match="last engineer"):
            await people.set_role(database, "eva", Role.VIEWER, is_locked=False, now=T0, by="eva", reason="r")
        with pytest.raises(UsageError, match="nobody"):
            await people.set_password(database, "nora", "h", now=T0, by="eva", reason="r")


class TestSqliteConsoleStore(ConsoleStoreContract):
    @pytest.fixture
    def database(self, sqlite: Database) -> Database:
        return sqlite


class TestPostgresConsoleStore(ConsoleStoreContract):
    @pytest.fixture
    def database(self, postgres: Database) -> Database:
        return postgres
