"""`configs/postgresql/roles.sql` on a real PostgreSQL: each role can do its work, and each cell of the page is so."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from inspector.cli.checks import security
from inspector.cli.checks.finding import Finding, Level
from inspector.config.loading import parse
from inspector.config.sections import RetentionSection
from inspector.errors import LedgerUnavailable
from inspector.ports import Registry
from inspector.store import audit, jobs, tables
from inspector.store import database as databases
from inspector.store.console.hours import keep_hour
from inspector.store.database import Database
from inspector.store.ledger.ledger import SqlLedger
from inspector.store.registry.registry import SqlRegistry
from inspector.store.retention import holds
from inspector.store.retention.graphs import prune_graphs
from inspector.store.retention.retention import prune
from inspector.testing.clock import FakeClock
from inspector.testing.postgres import PostgresServer
from inspector.testing.registry_contract import Audited, RegistryContract, enrol
from inspector.testing.samples import verdict_of_part
from tests.brokers import RunningClock
from tests.contract.roles import Users, run_script
from tests.contract.test_ledger_contract import SqlLedgerContract

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "postgresql.md").read_text(encoding="utf-8")
ROLES = ("inspector_agent", "inspector_console", "inspector_operator", "inspector_reader")
WORDS = {"SELECT": "reads", "INSERT": "adds", "UPDATE": "changes", "DELETE": "removes"}


TAKE_THE_NEXT_NUMBER = (
    "INSERT INTO audit (seq, at, user_name, object, reason, prev_hash, hash)"
    " SELECT coalesce(max(seq), 0) + 1, now(), 'eve', 'x', 'x', 'x', 'x' FROM audit"
)
"""Who may do so can keep everybody from adding an entry, and with it from each change that is audited."""


@pytest.fixture
def owned(postgres: Database, postgres_server: PostgresServer) -> Database:
    """As the owner; the script has been run twice, as after an upgrade."""
    for _ in range(2):
        run_script(postgres_server, postgres)
    return postgres


@pytest.fixture
async def users(owned: Database) -> AsyncIterator[Users]:
    made = Users(owned)
    yield made
    await made.close()


class TestLedgerOfAnAgent(SqlLedgerContract):
    """Everything that a running agent writes and reads, with the rights of `inspector_agent`."""

    @pytest.fixture
    async def database(self, users: Users) -> Database:
        return await users.of("inspector_agent")


class TestRegistryOfAnOperator(RegistryContract):
    """Everything that `inspector enroll` and `inspector products` do, with the rights of `inspector_operator`."""

    @pytest.fixture
    async def registry(self, users: Users) -> AsyncIterator[Registry]:
        async with SqlRegistry(await users.of("inspector_operator"), FakeClock()) as registry:
            yield registry

    async def audited(self, registry: Registry) -> list[Audited]:
        assert isinstance(registry, SqlRegistry)
        found = await audit.entries(registry.database)
        return [(entry.user, entry.object, entry.old, entry.new, entry.reason) for entry in found]


async def test_agent_and_operator_can_prune(owned: Database, users: Users) -> None:
    for role in ("inspector_agent", "inspector_operator"):
        database, clock = await users.of(role), RunningClock()
        async with SqlLedger(owned, FakeClock()) as ledger:
            await ledger.record([verdict_of_part(1)], [], [])
        section = RetentionSection(passes_days=1, rejects_days=1, unjudged_days=1, decisions_days=1, events_days=1)
        assert sum(pruned.taken for pruned in await prune(database, clock, section)) >= 1
        await prune_graphs(database, clock, [])


async def test_console_can_do_its_work_and_adds_no_versions(owned: Database, users: Users) -> None:
    database, clock = await users.of("inspector_console"), FakeClock()
    async with SqlRegistry(owned, clock) as registry:
        await enrol(registry)
        await enrol(registry)
    async with SqlRegistry(database, clock) as registry:
        await registry.activate("bolt", 1, by="ada", reason="tried")
        await registry.rollback("bolt", by="ada", reason="tried")
        with pytest.raises(LedgerUnavailable, match="lacks a permission"):
            await enrol(registry)
    job = await jobs.ask(database, clock, "enroll", {"product": "nut"}, by="ada")
    await jobs.cancel(database, clock, job.number, by="ada")
    await holds.add(database, clock, holds.Selection(lot="L1"), by="ada", reason="escape")
    await keep_hour(database, clock.now() + timedelta(hours=9), timedelta(hours=3))


async def test_script_is_run_by_an_owner_that_is_no_superuser(postgres_server: PostgresServer) -> None:
    name = f"owner_{uuid.uuid4().hex[:12]}"
    async with Database(postgres_server.url()) as server:
        async with server.reading() as connection:
            await connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN CREATEROLE")
        async with server._engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            await connection.exec_driver_sql(f"CREATE DATABASE {name} OWNER {name}")
    async with Database(sa.make_url(postgres_server.url(name)).set(username=name)) as database:
        await databases.upgrade(database)
        run_script(postgres_server, database)
        assert (await cells(database))["inspector_agent", "audit"] == "reads, adds"


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET user_name = 'nobody'",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "ALTER TABLE audit DISABLE TRIGGER ALL",
        "DROP TABLE results",
        "CREATE TABLE public.results2 (x int)",
        "CREATE FUNCTION public.lower(text) RETURNS text LANGUAGE sql AS 'SELECT 1::text'",
    ],
)
async def test_no_role_can_rewrite_the_audit_or_the_tables(users: Users, role: str, statement: str) -> None:
    await refuses(await users.of(role), statement)


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("inspector_agent", "UPDATE products SET live_version = 1"),
        ("inspector_agent", "UPDATE product_versions SET threshold = 1e308"),
        ("inspector_agent", "UPDATE registry_revision SET revision = 7"),
        ("inspector_agent", "INSERT INTO jobs DEFAULT VALUES"),
        ("inspector_agent", "DELETE FROM holds"),
        *[(role, TAKE_THE_NEXT_NUMBER) for role in ROLES],
        ("inspector_agent", "SELECT password_hash FROM people"),
        ("inspector_operator", "SELECT token_sha256 FROM sessions"),
        ("inspector_console", "UPDATE product_versions SET artifact = ''"),
        ("inspector_console", "DELETE FROM results"),
        ("inspector_reader", "SELECT token_sha256 FROM sessions"),
        ("inspector_reader", "UPDATE results SET outcome = 'pass'"),
    ],
)
async def test_role_is_refused_what_is_not_its_work(users: Users, role: str, statement: str) -> None:
    await refuses(await users.of(role), statement)


async def refuses(database: Database, statement: str) -> None:
    with pytest.raises(LedgerUnavailable, match="lacks a permission"):
        async with database.writing() as connection:
            await connection.exec_driver_sql(statement)


def table_of_page() -> dict[tuple[str, str], str]:
    rows = [re.split(r" *\| *", row.strip("| \n")) for row in PAGE.splitlines() if row.startswith("| ")]
    start = next(number for number, row in enumerate(rows) if row[0] == "table")
    roles = [f"inspector_{name.strip('`')}" for name in rows[start][1:]]
    return {
        (role, row[0].strip("`")): cell for row in rows[start + 1 :] for role, cell in zip(roles, row[1:], strict=True)
    }


async def cells(database: Database) -> dict[tuple[str, str], str]:
    """What the server says each role may do with each table."""
    found: dict[tuple[str, str], str] = {}
    async with database.reading() as connection:
        for role in ROLES:
            for table in tables.metadata.tables:
                may = [word for right, word in WORDS.items() if await _may(connection, role, table, right)]
                if "changes" not in may and (column := await _changeable(connection, role, table)):
                    may.append(f"changes {column}")
                found[role, table] = ", ".join(may) or "-"
    return found


async def _may(connection: sa.ext.asyncio.AsyncConnection, role: str, table: str, right: str) -> bool:
    query = sa.select(sa.func.has_table_privilege(role, table, right))
    if right == "INSERT":  # of the audit not into all columns
        query = sa.select(sa.func.has_any_column_privilege(role, table, right))
    return bool((await connection.execute(query)).scalar_one())


async def _changeable(connection: sa.ext.asyncio.AsyncConnection, role: str, table: str) -> str:
    names = tables.metadata.tables[table].c.keys()
    may = [
        name
        for name in names
        if (await connection.execute(sa.select(sa.func.has_column_privilege(role, table, name, "UPDATE")))).scalar_one()
    ]
    return ", ".join(f"`{name}`" for name in may)


async def test_page_says_what_each_role_may_do_with_each_table(owned: Database) -> None:
    said, true = table_of_page(), await cells(owned)
    assert said == true


async def test_doctor_says_what_a_user_may_do_beyond_an_agent_s_work(owned: Database, users: Users) -> None:
    async def told(database: Database) -> Finding:
        url = database.url.render_as_string(hide_password=False)
        config = parse({"store": {"url": url}, "mqtt": {"port": 1}}, None)
        found = [finding async for finding in security.check(config, None)]
        return next(finding for finding in found if finding.subject == "database user")

    agent, owner = await told(await users.of("inspector_agent")), await told(owned)
    assert agent.level is Level.OK
    assert owner.level is Level.WARNING
    assert "change and remove rows of the audit, change what judges and give itself" in owner.detail
    assert "configs/postgresql/roles.sql" in owner.detail


async def test_doctor_finds_a_server_that_wants_no_password(owned: Database) -> None:
    """The servers of the tests trust everybody."""
    url = owned.url.set(password="right").render_as_string(hide_password=False)
    config = parse({"store": {"url": url}, "mqtt": {"port": 1}}, None)
    found = {finding.subject: finding async for finding in security.check(config, None)}
    assert found["database password"].level is Level.WARNING
    assert "scram-sha-256" in found["database password"].detail
