"""The ledger's contract, on the one in memory, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from inspector.ports import Ledger
from inspector.store import queries
from inspector.store.database import Database
from inspector.store.ledger import SqlLedger
from inspector.testing.clock import FakeClock
from inspector.testing.ledger import InMemoryLedger
from inspector.testing.ledger_contract import LedgerContract, Stored


class TestInMemoryLedger(LedgerContract):
    @pytest.fixture
    async def ledger(self) -> AsyncIterator[Ledger]:
        async with InMemoryLedger() as ledger:
            yield ledger

    async def stored(self, ledger: Ledger) -> Stored:
        assert isinstance(ledger, InMemoryLedger)
        return Stored(
            rows=list(ledger.rows.values()),
            decisions=list(ledger.decisions.values()),
            conflicts=ledger.conflicts,
            events=ledger.events,
            gate_actions=ledger.gate_actions,
        )


class SqlLedgerContract(LedgerContract):
    @pytest.fixture
    async def ledger(self, database: Database) -> AsyncIterator[Ledger]:
        async with SqlLedger(database, FakeClock()) as ledger:
            yield ledger

    async def stored(self, ledger: Ledger) -> Stored:
        assert isinstance(ledger, SqlLedger)
        database = ledger.database
        return Stored(
            rows=(await queries.list_results(database, limit=1000))[::-1],
            decisions=(await queries.list_decisions(database))[::-1],
            conflicts=(await queries.list_conflicts(database))[::-1],
            events=(await queries.list_events(database))[::-1],
            gate_actions=(await queries.list_gate_actions(database))[::-1],
        )


class TestSqliteLedger(SqlLedgerContract):
    @pytest.fixture
    def database(self, sqlite: Database) -> Database:
        return sqlite


class TestPostgresLedger(SqlLedgerContract):
    @pytest.fixture
    def database(self, postgres: Database) -> Database:
        return postgres
