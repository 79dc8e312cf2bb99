"""Whatever a real database says comes out as one of our errors, in one sentence for the operator."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from inspector.domain import Outcome
from inspector.errors import ConfigError, LedgerUnavailable, SchemaOutdated
from inspector.store import database as databases
from inspector.store import tables
from inspector.store.database import Database
from inspector.store.ledger import queries
from inspector.store.ledger.ledger import SqlLedger
from inspector.testing.clock import START, FakeClock
from inspector.testing.postgres import PostgresServer
from inspector.testing.samples import verdict_of_part
from tests.contract import stored

CAMERA = {"name": "cam", "agent": "agent", "seen_at": START}


async def test_sqlite_of_another_process_holding_it_is_unavailable(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sqlite.path is not None
    await sqlite.write(lambda connection: connection.exec_driver_sql("PRAGMA busy_timeout=1"))
    holder = sqlite3.connect(sqlite.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        async with SqlLedger(sqlite, FakeClock()) as ledger:
            with pytest.raises(LedgerUnavailable, match="locked by another process"):
                await ledger.record([verdict_of_part(1)], [], [])
    finally:
        holder.close()


async def test_sqlite_full_disk_is_unavailable_and_leaves_no_half_batch(sqlite: Database) -> None:
    async with SqlLedger(sqlite, FakeClock()) as ledger:

        def fill(connection: sa.Connection) -> None:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 4}")

        await sqlite.write(fill)
        with pytest.raises(LedgerUnavailable, match="disk of the database is full"):
            await ledger.record([verdict_of_part(number) for number in range(500)], [], [])
    assert await stored.count_results(sqlite) == 0


async def test_write_on_sqlite_leaves_nothing_of_work_that_fails(sqlite: Database) -> None:
    await _fail_in_the_middle(sqlite)


async def test_write_on_postgres_leaves_nothing_of_work_that_fails(postgres: Database) -> None:
    await _fail_in_the_middle(postgres)


async def _fail_in_the_middle(database: Database) -> None:
    def fail(connection: sa.Connection) -> None:
        connection.execute(tables.cameras.insert(), CAMERA)
        raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        await database.write(fail)
    assert await database.write(lambda connection: connection.execute(sa.select(tables.cameras)).all()) == []


async def test_sqlite_file_of_something_else_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "inspector.db"
    path.write_bytes(b"not a database at all " * 100)
    async with Database(f"sqlite:///{path}") as database:
        with pytest.raises(LedgerUnavailable, match="not a SQLite database"):
            await database.check_schema()


async def test_sqlite_folder_that_is_a_file_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    async with Database(f"sqlite:///{tmp_path / 'state' / 'inspector.db'}") as database:
        with pytest.raises(LedgerUnavailable):
            await databases.ensure_schema(database)


async def test_sqlite_without_tables_is_outdated(tmp_path: Path) -> None:
    async with Database(f"sqlite:///{tmp_path / 'inspector.db'}") as database:
        with pytest.raises(SchemaOutdated, match="inspector db upgrade"):
            await SqlLedger(database, FakeClock()).__aenter__()
        with pytest.raises(SchemaOutdated, match="no such table"):
            await queries.list_results(database)


async def test_sqlite_table_that_is_changed_under_an_agent_makes_the_ledger_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "inspector.db"
    async with Database(f"sqlite:///{path}") as database:
        await databases.ensure_schema(database)
        async with SqlLedger(database, FakeClock()) as ledger:
            _execute(path, "ALTER TABLE results RENAME COLUMN lap TO lap2")
            with pytest.raises(LedgerUnavailable, match="inspector db upgrade"):
                await ledger.record([verdict_of_part(1)], [], [])
            _execute(path, "ALTER TABLE results RENAME COLUMN lap2 TO lap")
            assert not await ledger.record([verdict_of_part(1)], [], []), "it goes on without a restart"


def _execute(path: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


async def test_postgres_without_tables_is_outdated(postgres_server: PostgresServer) -> None:
    async with Database(postgres_server.url("postgres")) as database:
        with pytest.raises(SchemaOutdated, match="inspector db upgrade"):
            await queries.list_results(database)


async def test_postgres_of_no_such_name_is_unavailable(postgres_server: PostgresServer) -> None:
    async with Database(postgres_server.url("nowhere")) as database:
        with pytest.raises(LedgerUnavailable, match="no database of that name"):
            await database.check_schema()


async def test_postgres_table_that_somebody_locks_can_not_be_written_and_is_said(
    postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await postgres.check_writable()
    monkeypatch.setattr(databases, "LOCK_WAIT_S", 0.05)
    async with postgres.writing() as holder:
        await holder.exec_driver_sql("LOCK TABLE results IN SHARE MODE")
        with pytest.raises(LedgerUnavailable, match="locked by somebody else"):
            await postgres.check_writable()
    await postgres.check_writable()


async def test_database_with_all_its_connections_in_use_is_unavailable(
    postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The two connections themselves must be made within this time, also on a busy machine.
    monkeypatch.setattr(databases, "CONNECT_TIMEOUT_S", 2.0)
    async with Database(postgres.url.render_as_string(hide_password=False), connections=2) as database:
        async with database.reading(), database.reading():
            with pytest.raises(LedgerUnavailable, match="all connections are busy"):
                await database.revision()
        assert await database.revision() is not None


async def test_postgres_that_is_not_there_is_unavailable_and_the_ledger_still_opens() -> None:
    async with Database("postgresql://127.0.0.1:1/plant") as database, SqlLedger(database, FakeClock()) as ledger:
        with pytest.raises(LedgerUnavailable, match="does not answer"):
            await ledger.load_gates()


async def test_postgres_restarted_is_unavailable_then_takes_the_row(postgres_bin_dir: Path) -> None:
    with PostgresServer(postgres_bin_dir, durable=True) as server:
        async with Database(server.url()) as database:
            await databases.upgrade(database)
            async with SqlLedger(database, FakeClock()) as ledger:
                await ledger.record([verdict_of_part(1)], [], [])
                server.stop(at_once=True)
                with pytest.raises(LedgerUnavailable):
                    await ledger.record([verdict_of_part(2)], [], [])
                with pytest.raises(LedgerUnavailable):
                    await ledger.record([verdict_of_part(2)], [], [])
                server.start()
                await ledger.record([verdict_of_part(2)], [], [])
                assert await queries.count_by_outcome(database) == {**dict.fromkeys(Outcome, 0), Outcome.PASS: 2}


@pytest.mark.parametrize(
    "url", ["mysql://localhost/db", "nonsense", "sqlite://", "sqlite:///:memory:", "postgresql://host:port/db"]
)
def test_database_url_of_something_else_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigError, match=r"store\.url"):
        Database(url)


def test_database_url_takes_user_and_password_only_where_it_has_none() -> None:
    filled = databases.database_url("postgresql://db/plant", user="agent", password="secret")
    assert (filled.username, filled.password, filled.drivername) == ("agent", "secret", "postgresql+asyncpg")
    kept = databases.database_url("postgresql://me:mine@db/plant", user="agent", password="secret")
    assert (kept.username, kept.password) == ("me", "mine")


async def refuse(database: Database, condition: str) -> None:
    """From now on the database refuses rows of `results` for which the condition holds."""
    async with database.writing() as connection:
        if database.is_sqlite:
            await connection.execute(
                sa.text(
                    f"CREATE TRIGGER refuse BEFORE INSERT ON results WHEN {condition.replace('row.', 'NEW.')}"
                    " BEGIN SELECT RAISE(ABORT, 'odd row'); END"
                )
            )
        else:
            check = condition.replace("row.", "")
            await connection.execute(sa.text(f"ALTER TABLE results ADD CONSTRAINT odd_row CHECK (NOT ({check}))"))


class OddRowContract:
    """One row that the database refuses holds up nothing."""

    async def test_record_a_refused_row_is_stored_without_its_metadata(self, database: Database) -> None:
        await refuse(database, "coalesce(row.lot, '') = 'odd'")
        verdicts = [verdict_of_part(1), verdict_of_part(2, lot="odd"), verdict_of_part(3)]
        async with SqlLedger(database, FakeClock()) as ledger:
            assert await ledger.record(verdicts, [], []) == []
        stored = (await queries.list_results(database))[::-1]
        assert [row.result_id for row in stored] == [verdict.result_id for verdict in verdicts]
        assert stored[1].lot is None
        assert "without its metadata" in (stored[1].cause_detail or "")

    async def test_record_a_row_refused_in_any_form_is_an_alarm(self, database: Database) -> None:
        await refuse(database, "row.camera = 'odd'")
        verdicts = [verdict_of_part(1), verdict_of_part(2, camera="odd")]
        async with SqlLedger(database, FakeClock()) as ledger:
            assert await ledger.record(verdicts, [], []) == []
        assert await stored.count_results(database) == 1
        (event,) = await stored.list_events(database)
        assert (event.kind, event.subject) == ("row_refused", "odd")
        assert verdicts[1].result_id in event.detail

    async def test_record_text_and_numbers_no_database_takes_makes_a_row(self, database: Database) -> None:
        odd = verdict_of_part(1, frame_id="a\x00b", part_id="\ud800", trigger_id=2**70, score=float("nan"))
        async with SqlLedger(database, FakeClock()) as ledger:
            await ledger.record([odd], [], [])
        (row,) = await queries.list_results(database)
        assert (row.frame_id, row.part_id, row.trigger_id, row.score) == ("a\ufffdb", "\ufffd", None, None)
        assert row.cause_detail is None


class TestSqliteOddRow(OddRowContract):
    @pytest.fixture
    def database(self, sqlite: Database) -> Database:
        return sqlite


class TestPostgresOddRow(OddRowContract):
    @pytest.fixture
    def database(self, postgres: Database) -> Database:
        return postgres
