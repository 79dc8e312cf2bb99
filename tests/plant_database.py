"""A PostgreSQL that several agents of a test share: their registry, with the products live, and their ledger.

Registered as a pytest plugin by tests/conftest.py. Everything here is for code outside of an event loop.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest

from inspector.agent.clock import SystemClock
from inspector.store.database import Database, upgrade
from inspector.store.registry.registry import SqlRegistry
from inspector.testing.postgres import PostgresServer, binaries

TEMPLATE = "plant_template"

T = TypeVar("T")


class PlantDatabase:
    """One database of a running server, made as a copy of the server's template."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.name = f"plant_{uuid.uuid4().hex[:12]}"
        _run(_execute(server.url(), f"CREATE DATABASE {self.name} TEMPLATE {TEMPLATE}"))

    @property
    def config(self) -> str:
        """The store section of an agent's configuration."""
        return f'[store]\nurl = "{self.server.url(self.name)}"\n'

    def rows(self, table: str = "results") -> list[dict[str, Any]]:
        """All rows in the order they were written. Raises OSError while the server is away."""
        order = " ORDER BY seq" if table == "results" else ""
        return [dict(row) for row in _run(_fetch(self.server.url(self.name), f"SELECT * FROM {table}{order}"))]

    def count(self, table: str = "results") -> int:
        """Raises OSError while the server is away."""
        return int(_run(_fetch(self.server.url(self.name), f"SELECT count(*) FROM {table}"))[0][0])

    def execute(self, statement: str) -> None:
        _run(_execute(self.server.url(self.name), statement))


def prepare(server: PostgresServer, enrolled: Path) -> None:
    """The template of `server`: our tables, and the live products of the SQLite registry in `enrolled`."""
    _run(_execute(server.url(), f"CREATE DATABASE {TEMPLATE}"))
    _run(_copy_products(enrolled, server.url(TEMPLATE)))


def start_server() -> PostgresServer:
    """Not entered. Skips where PostgreSQL is not installed."""
    bin_dir = binaries()
    if bin_dir is None:
        pytest.skip("PostgreSQL is not installed (Debian package: postgresql)")
    return PostgresServer(bin_dir)


@pytest.fixture(scope="session")
def plant_server(enrolled_state: Path) -> Iterator[PostgresServer]:
    with start_server() as server:
        prepare(server, enrolled_state)
        yield server


@pytest.fixture
def plant_database(plant_server: PostgresServer) -> PlantDatabase:
    """A fresh database with both products live, on a server that tests may stop."""
    plant_server.ensure_running()
    return PlantDatabase(plant_server)


async def _copy_products(enrolled: Path, url: str) -> None:
    async with Database(f"sqlite:///{enrolled / 'inspector.db'}") as source, Database(url) as target:
        await upgrade(target)
        async with SqlRegistry(source, SystemClock()) as old, SqlRegistry(target, SystemClock()) as new:
            for version in (await old.live()).versions:
                artifact = await old.artifact(version.product, version.version)
                await new.add_version(version.product, artifact, dict(version.manifest), by="test", activate=True)


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _fetch(url: str, query: str) -> list[Any]:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        found: list[Any] = await connection.fetch(query)
        return found
    finally:
        await connection.close()


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Raises OSError for whatever the server says, and where it is away."""
    try:
        return asyncio.run(work)
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise OSError(str(error)) from error
