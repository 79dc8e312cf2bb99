"""Databases for the contract suites: a fresh SQLite file or a fresh PostgreSQL database for each test."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from inspector.store import database as databases
from inspector.store.database import Database
from inspector.testing.postgres import PostgresServer, binaries

TEMPLATE = "inspector_template"


@pytest.fixture(scope="session")
def postgres_bin_dir() -> Path:
    """Where PostgreSQL is installed. Tests that need it are skipped without it, except in CI, where that is a fault."""
    bin_dir = binaries()
    if bin_dir is None:
        reason = "PostgreSQL is not installed (Debian package: postgresql)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return bin_dir


@pytest.fixture(scope="session")
def postgres_server(postgres_bin_dir: Path) -> Iterator[PostgresServer]:
    """A server with a migrated template database."""
    with PostgresServer(postgres_bin_dir) as server:
        asyncio.run(_make_template(server))
        yield server


@pytest.fixture
async def postgres(postgres_server: PostgresServer) -> AsyncIterator[Database]:
    name = f"test_{uuid.uuid4().hex}"
    await _run_sql(postgres_server, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    async with Database(postgres_server.url(name)) as database:
        yield database


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    asyncio.run(_migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture
async def sqlite(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Database]:
    path = tmp_path / "inspector.db"
    path.write_bytes(sqlite_template.read_bytes())
    async with Database(f"sqlite:///{path}") as database:
        yield database


async def _make_template(server: PostgresServer) -> None:
    await _run_sql(server, f"CREATE DATABASE {TEMPLATE}")
    await _migrate(server.url(TEMPLATE))


async def _migrate(url: str) -> None:
    async with Database(url) as database:
        await databases.upgrade(database)


async def _run_sql(server: PostgresServer, statement: str) -> None:
    connection = await asyncpg.connect(server.url().replace("+asyncpg", ""))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
