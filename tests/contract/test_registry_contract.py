"""The registry's contract, on the one in memory, on SQLite and on PostgreSQL; and what only SQL can show."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa

from inspector.errors import ArtifactError, LedgerUnavailable
from inspector.ports import Registry
from inspector.store import audit, tables
from inspector.store.database import Database
from inspector.store.registry import registry as registry_module
from inspector.store.registry.registry import SqlRegistry
from inspector.testing.clock import FakeClock
from inspector.testing.registry import InMemoryRegistry
from inspector.testing.registry_contract import Audited, RegistryContract, enrol, graph_of
from tests.audit_attacks import drop_guards


class TestInMemoryRegistry(RegistryContract):
    @pytest.fixture
    async def registry(self) -> AsyncIterator[Registry]:
        async with InMemoryRegistry() as registry:
            yield registry

    async def audited(self, registry: Registry) -> list[Audited]:
        assert isinstance(registry, InMemoryRegistry)
        return registry.audit


class SqlRegistryContract(RegistryContract):
    @pytest.fixture
    async def registry(self, database: Database) -> AsyncIterator[SqlRegistry]:
        async with SqlRegistry(database, FakeClock()) as registry:
            yield registry

    async def audited(self, registry: Registry) -> list[Audited]:
        assert isinstance(registry, SqlRegistry)
        found = await audit.entries(registry.database)
        return [(entry.user, entry.object, entry.old, entry.new, entry.reason) for entry in found]

    async def test_live_reads_no_manifest_on_the_event_loop(
        self, registry: SqlRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await enrol(registry)
        await enrol(registry, "nut")
        readers = []
        read = registry_module._manifest_in

        def noted(stored: object) -> dict[str, Any]:
            readers.append(threading.current_thread())
            return read(stored)

        monkeypatch.setattr(registry_module, "_manifest_in", noted)
        assert len((await registry.live()).versions) == 2
        assert len(readers) == 2
        assert threading.current_thread() not in readers

    async def test_artifact_that_is_not_what_was_enrolled_is_refused(self, registry: SqlRegistry) -> None:
        await enrol(registry)
        async with registry.database.writing() as connection:
            await connection.execute(tables.product_versions.update().values(artifact=b"something else"))
        with pytest.raises(ArtifactError, match="bolt version 1"):
            await registry.artifact("bolt", 1)

    async def test_graph_that_is_not_what_was_stored_is_refused_and_replaced_by_a_whole_one(
        self, registry: SqlRegistry
    ) -> None:
        await registry.add_graph(graph_of())
        async with registry.database.writing() as connection:
            await connection.execute(tables.graphs.update().values(content=b"something else"))
        with pytest.raises(ArtifactError, match="0123456789abcdef in the registry is damaged"):
            await registry.graph("0123456789abcdef")
        await registry.add_graph(graph_of())
        assert await registry.graph("0123456789abcdef") == graph_of()

    async def test_add_graph_by_many_at_once_keeps_one(self, registry: SqlRegistry) -> None:
        await asyncio.gather(*(registry.add_graph(graph_of(content=b"%d" % number)) for number in range(5)))
        kept = await registry.graph("0123456789abcdef")
        assert kept is not None
        assert kept.content in {b"%d" % number for number in range(5)}

    async def test_add_version_of_a_manifest_without_threshold_is_refused(self, registry: SqlRegistry) -> None:
        with pytest.raises(ArtifactError, match="threshold"):
            await registry.add_version("bolt", b"", {"head": "prototype"}, by="anna", activate=True)
        assert await registry.products() == []

    async def test_add_version_by_many_at_once_numbers_them_all(self, registry: SqlRegistry) -> None:
        await enrol(registry, activate=False)
        await asyncio.gather(*(enrol(registry, artifact=b"%d" % number) for number in range(5)))
        assert [version.version for version in await registry.products()] == [1, 2, 3, 4, 5, 6]
        assert await audit.verify(registry.database) == []

    async def test_verify_of_an_untouched_audit_finds_nothing(self, registry: SqlRegistry) -> None:
        assert await audit.verify(registry.database) == []
        await enrol(registry)
        assert await audit.verify(registry.database) == []

    async def test_verify_names_the_row_that_was_changed(self, registry: SqlRegistry) -> None:
        for _ in range(3):
            await enrol(registry)
        await drop_guards(registry.database)
        changed = tables.audit.update().where(tables.audit.c.seq == 3).values(user_name="nobody")
        async with registry.database.writing() as connection:
            await connection.execute(changed)
        assert await audit.verify(registry.database) == [3]

    async def test_verify_names_the_row_behind_one_taken_out(self, registry: SqlRegistry) -> None:
        for _ in range(3):
            await enrol(registry)
        await drop_guards(registry.database)
        async with registry.database.writing() as connection:
            await connection.execute(sa.delete(tables.audit).where(tables.audit.c.seq == 2))
        assert await audit.verify(registry.database) == [3]


class TestSqliteRegistry(SqlRegistryContract):
    @pytest.fixture
    def database(self, sqlite: Database) -> Database:
        return sqlite


class TestPostgresRegistry(SqlRegistryContract):
    @pytest.fixture
    def database(self, postgres: Database) -> Database:
        return postgres


async def test_registry_while_the_database_is_away_opens_and_says_so() -> None:
    async with Database("postgresql://127.0.0.1:1/plant") as database, SqlRegistry(database, FakeClock()) as registry:
        with pytest.raises(LedgerUnavailable):
            await registry.revision()
