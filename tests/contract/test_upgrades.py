"""A database of an older revision, with rows in every table, becomes today's and keeps them, on both databases."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from inspector.agent.clock import SystemClock
from inspector.domain import GateMode, GateState
from inspector.store import audit, tables
from inspector.store import database as databases
from inspector.store.database import Database
from inspector.store.ledger import queries
from inspector.store.ledger.ledger import SqlLedger
from inspector.testing.postgres import PostgresServer
from inspector.testing.samples import command_of, verdict_of_part

NUMBERED = {"id", "seq"}
"""Columns that the database numbers by itself."""

AT = "2025-03-01T06:00:00.000Z"


def alembic(connection: sa.Connection, to: str, *, down: bool = False) -> None:
    settings = AlembicConfig()
    settings.set_main_option("script_location", str(databases.migrations_dir()).replace("%", "%%"))
    settings.attributes["connection"] = connection
    (command.downgrade if down else command.upgrade)(settings, to)


def older_revisions() -> list[str]:
    settings = AlembicConfig()
    settings.set_main_option("script_location", str(databases.migrations_dir()))
    found = [each.revision for each in ScriptDirectory.from_config(settings).walk_revisions()]
    return [revision for revision in reversed(found) if revision != tables.SCHEMA_REVISION]


def reflected(connection: sa.Connection) -> dict[str, sa.Table]:
    metadata = sa.MetaData()
    metadata.reflect(connection)
    return {name: table for name, table in metadata.tables.items() if name != "alembic_version"}


def filled_value(column: sa.Column[Any], number: int) -> Any:
    """Something that a column of this type takes; the foreign key `product` and the like agree by being equal."""
    kind = column.type
    name = column.name
    if isinstance(kind, sa.Boolean):
        return bool(number % 2)
    if isinstance(kind, sa.LargeBinary):
        return bytes([number])
    if name in {"storm", "golden"}:
        return {}
    if isinstance(kind, sa.JSON) or name in {"regions", "jobs", "live_before", "manifest", "refused_record"}:
        return []
    if isinstance(kind, sa.DateTime):
        return datetime.fromisoformat(AT)
    if isinstance(kind, sa.Double | sa.Float):
        return number + 0.5
    if isinstance(kind, sa.Integer):
        return number
    words = {
        "mode": "clean",
        "outcome": "pass",
        "cause": "ok",
        "action": "pass",
        "identity": "strong",
        "held_for": "consecutive_rejects",
        "late_outcome": "pass",
        "late_cause": "ok",
    }
    is_time = name == "at" or name.endswith(("_at", "_before", "since", "until"))
    return words.get(name) or (AT if is_time else None if name == "time_source" else f"p{number}")


def fill(connection: sa.Connection) -> dict[str, int]:
    """Three rows in every table of whatever revision this is; how many each table has then."""
    found = reflected(connection)
    order = sa.MetaData()
    order.reflect(connection)
    for table in order.sorted_tables:
        if table.name in {"alembic_version", "registry_revision"}:
            continue
        columns = [column for column in table.columns if column.name not in NUMBERED]
        rows = [{column.name: filled_value(column, number) for column in columns} for number in (1, 2, 3)]
        connection.execute(table.insert(), rows)
    connection.execute(found["registry_revision"].update().values(revision=41))
    return counts(connection)


def counts(connection: sa.Connection) -> dict[str, int]:
    return {
        name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
        for name, table in reflected(connection).items()
    }


def contents(connection: sa.Connection, like: dict[str, list[str]]) -> dict[str, list[tuple[Any, ...]]]:
    """Every value of the columns named, as text, by table."""
    found = reflected(connection)
    rows = {}
    for name, columns in like.items():
        query = sa.select(*(found[name].c[column] for column in columns))
        rows[name] = sorted(tuple(str(value) for value in row) for row in connection.execute(query))
    return rows


def columns_of(connection: sa.Connection) -> dict[str, list[str]]:
    return {name: [column.name for column in table.columns] for name, table in reflected(connection).items()}


def differences(connection: sa.Connection) -> list[Any]:
    return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), tables.metadata))


class UpgradesContract:
    @pytest.mark.parametrize("revision", older_revisions())
    async def test_upgrade_of_an_older_revision_keeps_every_row_of_every_table(
        self, empty: Database, revision: str
    ) -> None:
        async with empty.writing() as connection:
            await connection.run_sync(alembic, revision)
        async with empty.writing() as connection:
            had = await connection.run_sync(fill)
            columns = await connection.run_sync(columns_of)
            before = await connection.run_sync(contents, columns)
        assert len(had) >= 14
        assert all(number in (1, 3) for number in had.values())
        await databases.upgrade(empty)
        async with empty.reading() as connection:
            assert await connection.run_sync(contents, columns) == before
            assert await connection.run_sync(differences) == []
        await empty.check_schema()

    @pytest.mark.parametrize("revision", older_revisions())
    async def test_upgrade_of_an_older_revision_leaves_a_store_that_works(self, empty: Database, revision: str) -> None:
        async with empty.writing() as connection:
            await connection.run_sync(alembic, revision)
        async with empty.writing() as connection:
            await connection.run_sync(fill)
        await databases.upgrade(empty)
        async with SqlLedger(empty, SystemClock()) as ledger:
            assert (await ledger.load_gates(["p1"]))["p1"].mode is GateMode.CLEAN
            await ledger.record([verdict_of_part(9)], [], [GateState("p1", 9, 9, orders=1)])
            assert await ledger.record_command(command_of("c1"), [])
        stored = await queries.get_result(empty, verdict_of_part(9).result_id)
        assert stored == verdict_of_part(9)
        assert len(await audit.entries(empty)) >= 1

    async def test_downgrade_drops_only_what_the_newest_revision_added(self, empty: Database) -> None:
        await databases.upgrade(empty)
        async with empty.writing() as connection:
            await connection.run_sync(fill)
        async with empty.writing() as connection:
            await connection.run_sync(lambda sync: alembic(sync, "-1", down=True))
            left = await connection.run_sync(counts)
            assert left["results"] == 3
        await databases.upgrade(empty)
        async with empty.reading() as connection:
            assert await connection.run_sync(differences) == []


class TestSqliteUpgrades(UpgradesContract):
    @pytest.fixture
    async def empty(self, tmp_path: Path) -> AsyncIterator[Database]:
        async with Database(f"sqlite:///{tmp_path / 'old.db'}") as database:
            yield database


class TestPostgresUpgrades(UpgradesContract):
    @pytest.fixture
    async def empty(self, postgres_server: PostgresServer) -> AsyncIterator[Database]:
        name = f"old_{uuid.uuid4().hex}"
        connection = await asyncpg.connect(postgres_server.url().replace("+asyncpg", ""))
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()
        async with Database(postgres_server.url(name)) as database:
            yield database
