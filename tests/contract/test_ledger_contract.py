"""The ledger's contract, on the one in memory, on SQLite and on PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from inspector.errors import LedgerUnavailable
from inspector.ports import Ledger
from inspector.store import audit
from inspector.store.database import Database
from inspector.store.ledger import queries
from inspector.store.ledger.ledger import SqlLedger
from inspector.testing.clock import FakeClock
from inspector.testing.ledger import InMemoryLedger
from inspector.testing.ledger_contract import LedgerContract, Stored
from inspector.testing.samples import command_of, verdict_of_part
from tests.contract import stored


class TestInMemoryLedger(LedgerContract):
    @pytest.fixture
    async def ledger(self, clock: FakeClock) -> AsyncIterator[Ledger]:
        async with InMemoryLedger(clock) as ledger:
            yield ledger

    async def stored(self, ledger: Ledger) -> Stored:
        assert isinstance(ledger, InMemoryLedger)
        return Stored(
            rows=list(ledger.rows.values()),
            decisions=list(ledger.decisions.values()),
            conflicts=ledger.conflicts,
            events=ledger.events,
            acks=list(ledger.acks.values()),
            commands=ledger.commands,
            shadow_results=ledger.shadow_results,
        )


class SqlLedgerContract(LedgerContract):
    @pytest.fixture
    async def ledger(self, database: Database, clock: FakeClock) -> AsyncIterator[Ledger]:
        async with SqlLedger(database, clock) as ledger:
            yield ledger

    async def stored(self, ledger: Ledger) -> Stored:
        assert isinstance(ledger, SqlLedger)
        database = ledger.database
        return Stored(
            rows=(await queries.list_results(database, limit=1000))[::-1],
            decisions=(await stored.list_decisions(database))[::-1],
            conflicts=(await stored.list_conflicts(database))[::-1],
            events=(await stored.list_events(database))[::-1],
            acks=(await stored.list_acks(database))[::-1],
            commands=(await stored.list_commands(database))[::-1],
            shadow_results=await stored.list_shadow_results(database),
        )

    async def test_record_command_is_audited_in_the_same_transaction(self, database: Database) -> None:
        async with SqlLedger(database, FakeClock()) as ledger:
            await ledger.record_command(command_of("c1"), [])
            await ledger.record_command(command_of("c1"), [])
        (entry,) = await audit.entries(database)
        assert (entry.user, entry.object, entry.old, entry.new) == ("ada", "gate/g1/mode", "auto", "clean")
        assert entry.reason == "belt is cleaned (command c1)"
        assert await audit.verify(database) == []


class TestSqliteLedger(SqlLedgerContract):
    @pytest.fixture
    def database(self, sqlite: Database) -> Database:
        return sqlite

    async def test_sightings_of_a_row_with_a_damaged_time_are_known_all_the_same(self, database: Database) -> None:
        verdict = verdict_of_part(1)
        async with SqlLedger(database, FakeClock()) as ledger:
            await ledger.record([verdict], [], [])
            async with database.writing() as connection:
                await connection.exec_driver_sql("UPDATE results SET received_at = 'yesterday', outcome = 'maybe'")
            assert [seen.result_id for seen in await ledger.sightings("cam1", 10)] == [verdict.result_id]


class TestPostgresLedger(SqlLedgerContract):
    @pytest.fixture
    def database(self, postgres: Database) -> Database:
        return postgres

    async def test_record_while_the_sequence_lies_behind_is_a_ledger_that_is_away(self, database: Database) -> None:
        verdicts = [verdict_of_part(number) for number in range(1, 7)]
        async with SqlLedger(database, FakeClock()) as ledger:
            await ledger.record(verdicts[:3], [], [])
            async with database.writing() as connection:
                await connection.exec_driver_sql("ALTER SEQUENCE results_seq_seq RESTART")
            with pytest.raises(LedgerUnavailable, match=r"sequence .* lies behind its rows"):
                await ledger.record(verdicts[3:], [], [])
            assert await stored.count_results(database) == 3
            for _ in range(3):  # each try takes numbers, so that the sequence catches up by itself
                with contextlib.suppress(LedgerUnavailable):
                    await ledger.record(verdicts[3:], [], [])
            assert await stored.count_results(database) == 6
            assert await stored.list_events(database) == []
