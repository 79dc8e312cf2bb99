"""The audit withstands whoever can write to its database, on both databases; each attack is one that was tried."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from inspector.agent.audit_watch import AuditWatch
from inspector.config.config import Config
from inspector.config.loading import parse
from inspector.domain import Severity
from inspector.errors import ConfigError, InspectorError
from inspector.store import audit
from inspector.store.audit import Change
from inspector.store.audit_heads import write_head
from inspector.store.chain import ChainKeys
from inspector.store.database import Database, chain_keys, configured
from inspector.store.registry.registry import SqlRegistry
from inspector.testing.clock import START, FakeClock
from inspector.testing.edges import FakeTelemetry
from inspector.testing.postgres import PostgresServer
from inspector.testing.registry_contract import MANIFEST
from tests.audit_attacks import cut, drop_guards, rewrite
from tests.contract.roles import Users, run_script

OLD, NEW = b"a key of sixteen", b"another key, longer"
SEALED = ChainKeys((NEW,))
GUARDS_OFF = "ALTER TABLE audit DISABLE TRIGGER ALL"
STATEMENTS = (
    "UPDATE audit SET user_name = 'bo'",
    "DELETE FROM audit WHERE seq = 2",
)


def by(database: Database, *keys: bytes) -> Database:
    """The same database, as somebody with these keys uses it."""
    return Database(database.url, chain=ChainKeys(keys))


async def write(database: Database, number: int) -> None:
    for count in range(number):
        await audit.record(database, START, Change("ada", f"gate/g{count}/mode", "auto", "clean", "a test"))


class AuditContract:
    @pytest.mark.parametrize("statement", STATEMENTS)
    async def test_database_refuses_to_change_or_remove_a_row(self, database: Database, statement: str) -> None:
        await write(database, 3)
        with pytest.raises(InspectorError):
            async with database.writing() as connection:
                await connection.execute(sa.text(statement))
        assert (await audit.state(database)).holds
        assert await audit.count(database) == 3

    async def test_head_of_an_empty_chain_is_still_there_later(self, database: Database) -> None:
        head = await audit.head(database, START)
        assert (head.entries, head.seq, head.hash) == (0, 0, audit.FIRST_HASH)
        await write(database, 2)
        assert await audit.missing(database, head) is None

    async def test_earlier_head_finds_a_cut_end_a_rewritten_row_and_a_removed_one(self, database: Database) -> None:
        await write(database, 5)
        head = await audit.head(database, START)
        await write(database, 1)
        assert await audit.missing(database, head) is None
        await rewrite(database, 4, ChainKeys(), user_name="bo")
        assert (await audit.state(database)).holds, "without a key the new chain is as good as the old one"
        assert "was rewritten" in str(await audit.missing(database, head))
        await cut(database, after=3)
        assert "entry 5" in str(await audit.missing(database, head))

    async def test_row_rewritten_with_an_unkeyed_chain_breaks_a_keyed_one(self, database: Database) -> None:
        async with by(database, NEW) as keyed:
            await write(keyed, 4)
            assert (await audit.state(keyed)).holds
            await rewrite(keyed, 2, ChainKeys(), reason="another")
            assert (await audit.state(keyed)).broken == (2, 3, 4)
            assert (await audit.state(database)).unchecked == 1, "who has no key sees which rows it can't check"

    async def test_emptied_audit_is_found_by_whoever_has_the_key(self, database: Database) -> None:
        async with by(database, NEW) as keyed:
            assert (await audit.state(keyed)).holds, "nothing has been done yet"
            registry = SqlRegistry(keyed, FakeClock())
            await registry.add_version("bolt", b"bolt", MANIFEST, by="ada", activate=True)
            assert (await audit.state(keyed)).holds
            await cut(keyed, after=0)
            state = await audit.state(keyed)
            assert (state.count, state.is_unsealed, state.holds) == (0, True, False)
            assert (await audit.state(database)).holds, "without a key nothing tells an emptied audit"

    async def test_whole_chain_made_anew_without_the_key_is_found(self, database: Database) -> None:
        async with by(database, NEW) as keyed:
            await write(keyed, 3)
            await rewrite(keyed, 1, ChainKeys(), user_name="bo")
            state = await audit.state(keyed)
            assert (state.broken, state.is_unsealed, state.holds) == ((), True, False)

    async def test_whole_chain_made_anew_with_another_key_is_found(self, database: Database) -> None:
        async with by(database, NEW) as keyed:
            await write(keyed, 3)
            await rewrite(keyed, 1, ChainKeys((b"a key of the attacker",)), user_name="bo")
            assert (await audit.state(keyed)).broken == (1, 2, 3)

    async def test_new_key_follows_an_old_one_and_never_the_other_way(self, database: Database) -> None:
        await write(database, 2)
        async with by(database, OLD) as before:
            await write(before, 2)
        async with by(database, OLD, NEW) as after:
            await write(after, 2)
            assert (await audit.state(after)).holds
            async with by(database, OLD) as before:  # somebody who has found the old key
                await write(before, 1)
            assert (await audit.state(after)).broken == (7,)

    async def test_plain_row_after_a_sealed_one_is_a_break(self, database: Database) -> None:
        async with by(database, NEW) as keyed:
            await write(keyed, 2)
            await write(database, 1)
            assert (await audit.state(keyed)).broken == (3,)
            assert (await audit.state(database)).broken == (3,), "this needs no key"

    async def test_row_is_not_added_where_the_key_is_not_here(self, database: Database) -> None:
        async with Database(database.url, chain=ChainKeys(fault="the secret 'audit-key' is nowhere")) as without:
            with pytest.raises(ConfigError, match="entries of the audit are sealed with it"):
                await write(without, 1)
            assert (await audit.state(without)).holds


class TestSqliteAudit(AuditContract):
    @pytest.fixture
    def database(self, sqlite: Database) -> Database:
        return sqlite

    async def test_database_refuses_to_replace_a_row(self, database: Database) -> None:
        await write(database, 2)
        copied = "seq, at, 'bo', object, old_value, new_value, reason, prev_hash, hash FROM audit WHERE seq = 1"
        with pytest.raises(InspectorError):
            async with database.writing() as connection:
                await connection.execute(sa.text(f"INSERT OR REPLACE INTO audit SELECT {copied}"))
        assert (await audit.entries(database))[0].user == "ada"


class TestPostgresAudit(AuditContract):
    @pytest.fixture
    def database(self, postgres: Database) -> Database:
        return postgres

    async def test_database_refuses_to_truncate(self, database: Database) -> None:
        await write(database, 2)
        with pytest.raises(InspectorError):
            async with database.writing() as connection:
                await connection.execute(sa.text("TRUNCATE audit"))
        assert await audit.count(database) == 2

    async def test_role_of_the_document_adds_and_reads_and_nothing_else(
        self, database: Database, postgres_server: PostgresServer
    ) -> None:
        run_script(postgres_server, database)
        users = Users(database)
        async with await users.of("inspector_agent") as agent:
            await write(agent, 2)
            assert (await audit.state(agent)).holds
            await drop_guards(database)  # the grants alone have to hold
            for statement in (
                *STATEMENTS,
                "TRUNCATE audit",
                "ALTER TABLE audit DISABLE TRIGGER ALL",
                "DROP TABLE audit",
            ):
                with pytest.raises(InspectorError):
                    async with agent.writing() as refused:
                        await refused.execute(sa.text(statement))
        assert await audit.count(database) == 2


class Watched:
    """An audit watch with what it told."""

    def __init__(self, database: Database, state_dir: Path) -> None:
        self.telemetry = FakeTelemetry()
        self.published: list[dict[str, Any]] = []
        config = parse({"agent": {"name": "agent1", "state_dir": str(state_dir)}}, None)
        self.watch = AuditWatch(database, FakeClock(START), self.telemetry, config, self._publish)

    async def _publish(self, head: Any) -> None:
        self.published.append(dict(head))

    def told(self, kind: str) -> list[str]:
        return [event.detail for event in self.telemetry.events if event.kind == kind]


async def test_watch_tells_the_head_and_finds_what_was_cut_off_since(sqlite: Database, tmp_path: Path) -> None:
    await write(sqlite, 3)
    watched = Watched(sqlite, tmp_path / "state")
    await watched.watch.look()
    assert [document["entries"] for document in watched.published] == [3]
    assert watched.told("audit_head")[0].startswith("3 entries, the last 3: ")
    assert watched.told("audit_broken") == []
    await write(sqlite, 1)
    await watched.watch.finish()
    assert [document["entries"] for document in watched.published] == [3, 4]
    await cut(sqlite, after=3)
    again = Watched(sqlite, tmp_path / "state")
    await again.watch.look()
    (fault,) = again.told("audit_broken")
    assert "entry 4, the last one at" in fault
    assert again.telemetry.events[0].severity is Severity.ALARM
    assert again.telemetry.values["audit_broken"] == 1
    await again.watch.finish()
    assert again.published == [], "a chain that is not its own is not made its own"


@pytest.mark.parametrize("is_forged", [False, True])
async def test_watch_remembers_the_head_that_somebody_takes_from_its_folder(
    sqlite: Database, tmp_path: Path, is_forged: bool
) -> None:
    await write(sqlite, 3)
    watched = Watched(sqlite, tmp_path / "state")
    await watched.watch.look()
    file = tmp_path / "state" / "audit-head.json"
    await cut(sqlite, after=2)
    file.unlink()
    if is_forged:
        write_head(file, await audit.head(sqlite, START))
    await watched.watch.look()
    assert ["entry 3, the last one at" in fault for fault in watched.told("audit_broken")] == [True]
    await watched.watch.finish()
    assert len(watched.published) == 1, "a chain that is not its own is not made its own"


async def test_watch_seals_an_older_chain_once_and_finds_one_without_seals(sqlite: Database, tmp_path: Path) -> None:
    await write(sqlite, 3)
    async with by(sqlite, NEW) as keyed:
        for _ in range(2):
            watched = Watched(keyed, tmp_path / "state")
            await watched.watch.look()
        assert await audit.count(sqlite) == 4, "one sealed entry, and not one for each start"
        assert watched.published[0]["sealed"]
        await rewrite(keyed, 1, ChainKeys(), user_name="bo")
        await watched.watch.look()
        faults = watched.told("audit_broken")
        assert any("no entry of it is any more" in fault for fault in faults)
        assert await audit.count(sqlite) == 4, "a chain that somebody made anew is not sealed"


async def test_watch_lets_the_event_loop_go_on_while_it_reads(sqlite: Database, tmp_path: Path) -> None:
    await write(sqlite, 120)
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(count_turns())
    await Watched(sqlite, tmp_path).watch.look()
    other.cancel()
    assert turns > 3


def test_keys_of_the_audit_are_read_oldest_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def config(**keys: Any) -> Config:
        return parse({"agent": {"state_dir": str(tmp_path)}, "audit": keys}, None)

    assert not chain_keys(config()).is_sealing
    named = config(key_secret="new", old_key_secrets=["old"])
    assert "INSPECTOR_SECRET_OLD" in str(chain_keys(named).fault)
    monkeypatch.setenv("INSPECTOR_SECRET_OLD", OLD.decode())
    monkeypatch.setenv("INSPECTOR_SECRET_NEW", NEW.decode())
    assert chain_keys(named) == ChainKeys((OLD, NEW))
    assert "sixteen" not in repr(chain_keys(named))
    assert configured(named).chain == ChainKeys((OLD, NEW))
    with pytest.raises(ConfigError, match="a chain that was sealed stays sealed"):
        config(old_key_secrets=["old"])


def test_seal_is_of_every_value() -> None:
    at = datetime(2025, 3, 1, tzinfo=UTC)
    sealed = SEALED.seal("0", at, ["ada", "gate/g1", None, "x", "why"])
    assert SEALED.fits(sealed, "0", at, ["ada", "gate/g1", None, "x", "why"])
    others: list[list[str | None]] = [
        ["bo", "gate/g1", None, "x", "why"],
        ["ada", "gate/g1", "", "x", "why"],
        ["ada", "gate/g1", None, "x"],
    ]
    for other in others:
        assert not SEALED.fits(sealed, "0", at, other)
    assert not SEALED.fits(sealed, "1", at, ["ada", "gate/g1", None, "x", "why"])
