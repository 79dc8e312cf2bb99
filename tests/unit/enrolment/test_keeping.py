"""An enrolment whose last step meets a database that takes no writes: its work waits, or is a file to import."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from inspector.enrolment import keeping
from inspector.enrolment.keeping import WAITS_FOR_STORE, FinishedVersion, stored
from inspector.errors import LedgerUnavailable
from inspector.store import sqlite_connections
from inspector.store.database import Database, ensure_schema
from inspector.store.registry.registry import SqlRegistry
from inspector.testing.clock import FakeClock
from inspector.vision.artifacts.envelope import unseal

FINISHED = FinishedVersion("bottle", b"artifact", {"head": "prototype", "threshold": 2.5}, "ada", True, False)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_connections, "BUSY_TIMEOUT_MS", 1)
    monkeypatch.setattr(keeping, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(keeping, "LONGEST_PAUSE_S", 0.01)


@contextlib.asynccontextmanager
async def registry_in(folder: Path) -> AsyncIterator[SqlRegistry]:
    async with Database(f"sqlite:///{folder / 'inspector.db'}") as database:
        await ensure_schema(database)
        async with SqlRegistry(database, FakeClock()) as registry:
            yield registry


def locked(folder: Path) -> sqlite3.Connection:
    holder = sqlite3.connect(folder / "inspector.db", isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    return holder


async def test_stored_waits_for_a_lock_to_end_and_leaves_no_file(tmp_path: Path) -> None:
    told: list[str] = []
    async with registry_in(tmp_path) as registry:
        with contextlib.closing(locked(tmp_path)) as holder:

            def tell(phase: str, _done: int, _total: int) -> None:
                told.append(phase)
                assert [path.name.split("-")[0] for path in (tmp_path / "kept").glob("*.artifact")] == ["bottle"]
                if len(told) == 3:
                    holder.rollback()

            version = await stored(registry, FINISHED, tmp_path / "kept", tell)
        assert (version.version, version.is_live, version.digest) == (1, True, FINISHED.digest)
        assert len(await registry.products()) == 1
    assert set(told) == {WAITS_FOR_STORE}
    assert list((tmp_path / "kept").iterdir()) == []


async def test_stored_in_vain_keeps_a_file_and_says_how_to_import_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "TRIED_FOR_S", 0.05)
    async with registry_in(tmp_path) as registry:
        unavailable = pytest.raises(LedgerUnavailable, match="locked by another process")
        with contextlib.closing(locked(tmp_path)), unavailable as lost:
            await stored(registry, FINISHED, tmp_path / "kept", lambda *_: None)
        assert await registry.products() == []
    (file,) = (tmp_path / "kept").glob("*.artifact")
    content = file.read_bytes()
    assert unseal(content).artifact == b"artifact"
    assert unseal(content).is_sealed  # it can be imported also where FILE.sha256 is lost
    digest = hashlib.sha256(content).hexdigest()
    assert file.with_name(f"{file.name}.sha256").read_text() == f"{digest}  {file.name}\n"
    assert f"`inspector products import {file} --activate --reason enrolled`" in str(lost.value)


async def test_stored_where_the_folder_can_not_be_written_keeps_the_file_in_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "TRIED_FOR_S", 0.0)
    (tmp_path / "kept").write_text("a file")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    async with registry_in(tmp_path) as registry:
        with contextlib.closing(locked(tmp_path)), pytest.raises(LedgerUnavailable) as lost:
            await stored(registry, FINISHED, tmp_path / "kept", lambda *_: None)
    (file,) = (tmp_path / "here").glob("*.artifact")
    assert str(file) in str(lost.value)


async def test_stored_that_is_cancelled_while_it_waits_has_its_file(tmp_path: Path) -> None:
    async with registry_in(tmp_path) as registry:
        waiting = asyncio.Event()
        with contextlib.closing(locked(tmp_path)):
            work = asyncio.create_task(stored(registry, FINISHED, tmp_path / "kept", lambda *_: waiting.set()))
            await waiting.wait()
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
    assert len(list((tmp_path / "kept").glob("*.artifact"))) == 1


async def test_stored_whose_commit_was_not_answered_makes_no_second_version(tmp_path: Path) -> None:
    async with registry_in(tmp_path) as registry:
        add_version = registry.add_version

        async def unanswered(*arguments: object, **options: object) -> object:
            await add_version(*arguments, **options)  # type: ignore[arg-type]  # passed on as they come
            raise LedgerUnavailable("The database does not answer.")

        registry.add_version = unanswered  # type: ignore[method-assign, assignment]  # a connection that breaks then
        version = await stored(registry, FINISHED, tmp_path / "kept", lambda *_: None)
        assert [each.version for each in await registry.products()] == [version.version] == [1]
