"""Reads for people, on both databases."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from inspector.agent.clock import SystemClock
from inspector.config.sections import RetentionSection
from inspector.domain import Cause, Outcome, Verdict
from inspector.store.database import Database
from inspector.store.ledger import queries
from inspector.store.ledger.ledger import SqlLedger
from inspector.store.ledger.queries import ResultFilter
from inspector.store.retention import retention
from inspector.testing.clock import START, FakeClock
from inspector.testing.samples import decision_for, event_of, gate_action_of, missed_verdict_of_part, verdict_of_part
from tests.contract import stored


def history() -> list[Verdict]:
    """A pass each minute, every fifth part a rejected nut of the other camera, one frame of no product."""
    verdicts = []
    for number in range(20):
        at = START + timedelta(minutes=number)
        if number % 5 == 0:
            verdict = verdict_of_part(
                number, camera="cam2", product="nut", outcome=Outcome.REJECT, cause=Cause.ANOMALY, received_at=at
            )
        elif number == 7:
            verdict = verdict_of_part(
                number, product=None, outcome=Outcome.UNJUDGED, cause=Cause.UNKNOWN_PRODUCT, received_at=at
            )
        else:
            verdict = verdict_of_part(number, received_at=at, simulated=number == 1)
        verdicts.append(verdict)
    return verdicts


class QueriesContract:
    @pytest.fixture
    async def filled(self, database: Database) -> Database:
        async with SqlLedger(database, FakeClock()) as ledger:
            await ledger.record(history(), [], [])
        return database

    @pytest.mark.parametrize(
        ("wanted", "numbers"),
        [
            (ResultFilter(product="nut"), [0, 5, 10, 15]),
            (ResultFilter(outcome=Outcome.UNJUDGED), [7]),
            (ResultFilter(cause=Cause.ANOMALY, camera="cam2"), [0, 5, 10, 15]),
            (ResultFilter(camera="cam1", product="nut"), []),
            (ResultFilter(simulated=True), [1]),
            (ResultFilter(since=START + timedelta(minutes=18)), [18, 19]),
            (ResultFilter(until=START + timedelta(minutes=2)), [0, 1]),
        ],
    )
    async def test_list_results_follows_each_filter_newest_first(
        self, filled: Database, wanted: ResultFilter, numbers: list[int]
    ) -> None:
        found = await queries.list_results(filled, wanted)
        assert found == [history()[number] for number in reversed(numbers)]
        assert [verdict async for verdict in queries.each_result(filled, wanted)] == found[::-1]
        assert await stored.count_results(filled, wanted) == len(numbers)

    async def test_list_results_gives_no_more_than_asked(self, filled: Database) -> None:
        assert await queries.list_results(filled, limit=3) == history()[:-4:-1]

    async def test_each_result_of_more_than_a_page_gives_them_all(
        self, filled: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(queries, "_PAGE_ROWS", 10)
        assert [verdict async for verdict in queries.each_result(filled)] == history()

    async def test_get_result_finds_it_or_none(self, filled: Database) -> None:
        verdict = history()[3]
        assert await queries.get_result(filled, verdict.result_id) == verdict
        assert await queries.get_result(filled, "nobody") is None
        assert await queries.find_results(filled, verdict.result_id[:18]) == [verdict]
        assert await queries.find_results(filled, "%") == []

    async def test_counts_add_up(self, filled: Database) -> None:
        assert await queries.count_by_outcome(filled) == {
            Outcome.PASS: 15,
            Outcome.REJECT: 4,
            Outcome.UNJUDGED: 1,
            Outcome.UNINSPECTED: 0,
        }
        assert await queries.count_by_cause(filled, ResultFilter(camera="cam1")) == {
            Cause.OK: 15,
            Cause.UNKNOWN_PRODUCT: 1,
        }
        assert await queries.count_by_product(filled) == {None: 1, "bolt": 15, "nut": 4}

    async def test_missed_part_that_was_corrected_counts_no_longer_and_is_listed_with_its_frame(
        self, database: Database
    ) -> None:
        missed, lost = missed_verdict_of_part(1), missed_verdict_of_part(2)
        frame = verdict_of_part(1, gate="g1")
        async with SqlLedger(database, FakeClock()) as ledger:
            await ledger.record([missed, lost], [], [])
            await ledger.record([frame], [], [])
        assert (await queries.count_by_outcome(database))[Outcome.UNINSPECTED] == 1
        assert await queries.count_by_cause(database) == {Cause.OK: 1, Cause.NOT_RECEIVED: 1}
        assert await queries.list_results(database, ResultFilter(outcome=Outcome.UNINSPECTED)) == [lost]
        corrected = dataclasses.replace(missed, corrected_by=frame.result_id)
        assert await queries.list_results(database) == [frame, lost, corrected]

    async def test_lists_of_events_decisions_and_actions_are_newest_first(self, database: Database) -> None:
        later = event_of("later", at=START + timedelta(hours=1))
        parts = [verdict_of_part(1), verdict_of_part(2)]
        async with SqlLedger(database, FakeClock()) as ledger:
            await ledger.record_events([event_of("first"), later])
            await ledger.record_gate_actions([gate_action_of(1), gate_action_of(1, gate="g2")])
            await ledger.record(parts, [(decision_for(part), True) for part in parts], [])
        assert await stored.list_events(database) == [later, event_of("first")]
        assert await stored.list_events(database, since=START + timedelta(minutes=1)) == [later]
        assert [row.first for row in await stored.list_acks(database, "g2")] == [gate_action_of(1, gate="g2")]
        assert [decision.trigger_id for decision in await stored.list_decisions(database, "g1", limit=1)] == [2]
        assert await stored.list_decisions(database, "g2") == []

    async def test_record_after_prune_never_uses_a_sequence_number_twice(self, filled: Database) -> None:
        section = RetentionSection(passes_days=1, rejects_days=1, unjudged_days=1)
        await retention.prune(filled, SystemClock(), section)
        async with SqlLedger(filled, FakeClock()) as ledger:
            await ledger.record([verdict_of_part(100)], [], [])
        async with filled.reading() as connection:
            assert (await connection.exec_driver_sql("SELECT seq FROM results")).scalar_one() > 20


class TestSqliteQueries(QueriesContract):
    @pytest.fixture
    def database(self, sqlite: Database) -> Database:
        return sqlite


class TestPostgresQueries(QueriesContract):
    @pytest.fixture
    def database(self, postgres: Database) -> Database:
        return postgres
