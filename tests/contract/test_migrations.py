"""Migrations from nothing make exactly the tables that the software knows, on both databases."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import inspector
from inspector.errors import SchemaOutdated
from inspector.store import database as databases
from inspector.store import tables
from inspector.store.database import Database
from inspector.testing.postgres import PostgresServer


def differences(connection: sa.Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, tables.metadata))


class MigrationsContract:
    async def test_migrations_from_empty_equal_the_metadata(self, database: Database) -> None:
        async with database.reading() as connection:
            assert await connection.run_sync(differences) == []

    async def test_check_schema_after_upgrade_is_satisfied(self, database: Database) -> None:
        await database.check_schema()
        assert await database.revision() == tables.SCHEMA_REVISION

    async def test_upgrade_again_changes_nothing(self, database: Database) -> None:
        await databases.upgrade(database)
        assert await database.revision() == tables.SCHEMA_REVISION

    async def test_ensure_schema_of_a_newer_database_is_refused(self, database: Database) -> None:
        async with database.writing() as connection:
            await connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(SchemaOutdated, match="9999"):
            await databases.ensure_schema(database)

    async def test_registry_revision_starts_with_its_one_row(self, database: Database) -> None:
        async with database.reading() as connection:
            rows = (await connection.execute(sa.select(tables.registry_revision))).all()
        assert [tuple(row) for row in rows] == [(1, 0)]


class TestSqliteMigrations(MigrationsContract):
    @pytest.fixture
    def database(self, sqlite: Database) -> Database:
        return sqlite


class TestPostgresMigrations(MigrationsContract):
    @pytest.fixture
    def database(self, postgres: Database) -> Database:
        return postgres

    async def test_ensure_schema_of_an_empty_postgres_asks_for_the_upgrade(
        self, postgres_server: PostgresServer
    ) -> None:
        async with Database(postgres_server.url("postgres")) as database:
            with pytest.raises(SchemaOutdated, match="inspector db upgrade"):
                await databases.ensure_schema(database)


async def test_ensure_schema_of_a_new_sqlite_file_by_two_at_once_makes_it_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state' / 'inspector.db'}"
    async with Database(url) as one, Database(url) as two:
        await asyncio.gather(databases.ensure_schema(one), databases.ensure_schema(two))
        assert await one.revision() == tables.SCHEMA_REVISION


def test_schema_revision_is_the_newest_migration() -> None:
    settings = AlembicConfig()
    settings.set_main_option("script_location", str(databases.migrations_dir()))
    assert ScriptDirectory.from_config(settings).get_heads() == [tables.SCHEMA_REVISION]


def test_migrations_of_the_installed_package_are_its_own_data(tmp_path: Path) -> None:
    source = Path(inspector.__file__).parent
    installed = tmp_path / "site" / "inspector"
    shutil.copytree(source, installed, ignore=shutil.ignore_patterns("__pycache__", "_data"))
    shutil.copytree(databases.migrations_dir(), installed / "_data" / "migrations")
    script = """
        import asyncio, sys
        from inspector.store import database as databases

        async def main():
            async with databases.Database(sys.argv[1]) as database:
                await databases.ensure_schema(database)
            print(databases.migrations_dir())

        asyncio.run(main())
    """
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), f"sqlite:///{tmp_path / 'inspector.db'}"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert found.stdout.strip() == str(installed / "_data" / "migrations")
