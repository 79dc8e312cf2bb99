"""A SQLite file that is moved away or replaced while it is in use: nothing is written where nobody would find it."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from inspector.errors import LedgerUnavailable
from inspector.store.database import Database, upgrade
from inspector.store.sqlite_file import SqliteFile

ENDINGS = ("", "-wal", "-shm")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(f"sqlite:///{tmp_path / 'x.db'}") as found:
        async with found.writing() as connection:
            await connection.exec_driver_sql("CREATE TABLE t (number INTEGER)")
        yield found


async def write(database: Database, number: int) -> None:
    async with database.writing() as connection:
        await connection.exec_driver_sql(f"INSERT INTO t VALUES ({number})")


async def read(database: Database) -> list[int]:
    async with database.reading() as connection:
        return list((await connection.exec_driver_sql("SELECT number FROM t ORDER BY number")).scalars())


def move(folder: Path, source: str, target: str) -> None:
    for ending in ENDINGS:
        if (folder / f"{source}{ending}").exists():
            (folder / f"{source}{ending}").rename(folder / f"{target}{ending}")


async def test_file_that_is_away_takes_nothing_and_is_used_again_when_it_is_back(
    database: Database, tmp_path: Path
) -> None:
    await write(database, 1)
    move(tmp_path, "x.db", "y.db")
    for _ in range(2):
        with pytest.raises(LedgerUnavailable, match=r"x\.db was moved away or replaced while in use"):
            await write(database, 2)
        with pytest.raises(LedgerUnavailable, match="moved away"):
            await read(database)
    assert not (tmp_path / "x.db").exists(), "no empty database stands in its place"
    move(tmp_path, "y.db", "x.db")
    await write(database, 3)
    assert await read(database) == [1, 3]


async def test_file_that_is_replaced_is_the_one_that_is_read_and_written(database: Database, tmp_path: Path) -> None:
    await write(database, 1)
    with closing(sqlite3.connect(tmp_path / "backup.db")) as backup, closing(sqlite3.connect(tmp_path / "x.db")) as now:
        now.backup(backup)
    await write(database, 2)
    move(tmp_path, "x.db", "old.db")
    (tmp_path / "backup.db").rename(tmp_path / "x.db")
    assert await read(database) == [1]
    await write(database, 3)
    assert await read(database) == [1, 3]
    with closing(sqlite3.connect(tmp_path / "x.db")) as found:
        assert found.execute("SELECT number FROM t").fetchall() == [(1,), (3,)]


async def test_file_that_is_removed_within_a_transaction_makes_it_fail(database: Database, tmp_path: Path) -> None:
    """The caller must not take its rows for stored."""

    async def write_and_remove() -> None:
        async with database.writing() as connection:
            await connection.exec_driver_sql("INSERT INTO t VALUES (1)")
            (tmp_path / "x.db").unlink()

    with pytest.raises(LedgerUnavailable, match="moved away"):
        await write_and_remove()


async def test_replaced_file_beside_the_log_of_the_one_before_is_not_opened(database: Database, tmp_path: Path) -> None:
    """SQLite would write the pages of that log into the backup."""
    with closing(sqlite3.connect(tmp_path / "backup.db")) as backup, closing(sqlite3.connect(tmp_path / "x.db")) as now:
        now.backup(backup)
    await write(database, 1)
    (tmp_path / "backup.db").rename(tmp_path / "x.db")
    for _ in range(2):
        with pytest.raises(LedgerUnavailable, match=r"was replaced, and x\.db-wal belongs to the one before"):
            await write(database, 2)
    (tmp_path / "x.db-wal").unlink()
    (tmp_path / "x.db-shm").unlink()
    await write(database, 3)
    assert await read(database) == [3]
    await ensure_whole(database)


async def test_replaced_file_beside_the_log_of_a_process_that_was_killed_is_not_opened(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    script = f"""
        import asyncio, os
        from tests.unit.store.test_moved_file import Database, write
        async def use():
            async with Database({url!r}) as database:
                async with database.writing() as connection:
                    await connection.exec_driver_sql("CREATE TABLE t (number INTEGER)")
                await write(database, 1)
                os.kill(os.getpid(), 9)
        asyncio.run(use())
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert (tmp_path / "x.db-wal").stat().st_size
    (tmp_path / "x.db").rename(tmp_path / "y.db")
    with closing(sqlite3.connect(tmp_path / "backup.db")) as backup:
        backup.execute("CREATE TABLE t (number INTEGER)")
    (tmp_path / "backup.db").rename(tmp_path / "x.db")
    async with Database(url) as database:
        with pytest.raises(LedgerUnavailable, match="belongs to the one before"):
            await read(database)
        (tmp_path / "x.db").unlink()
        with pytest.raises(LedgerUnavailable, match=r"is gone, and x\.db-wal beside it is still there"):
            await upgrade(database)
        assert not (tmp_path / "x.db").exists()
        (tmp_path / "y.db").rename(tmp_path / "x.db")
        assert await read(database) == [1]


@pytest.mark.parametrize("readers", [0, 4])
async def test_log_that_is_removed_while_in_use_loses_no_row(database: Database, tmp_path: Path, readers: int) -> None:
    await write(database, 1)
    reading = [asyncio.create_task(read(database)) for _ in range(readers)]
    (tmp_path / "x.db-wal").unlink()
    with pytest.raises(LedgerUnavailable, match=r"x\.db-wal was moved away or replaced while in use"):
        await write(database, 2)
    await asyncio.gather(*reading, return_exceptions=True)
    await write(database, 3)
    assert await read(database) == [1, 3]
    await ensure_whole(database)


async def ensure_whole(database: Database) -> None:
    async with database.reading() as connection:
        assert (await connection.exec_driver_sql("PRAGMA integrity_check")).scalar_one() == "ok"


async def test_log_with_the_number_of_an_earlier_one_is_taken_where_another_process_noted_it(tmp_path: Path) -> None:
    """File systems give the numbers of removed files again."""
    path = tmp_path / "x.db"
    path.write_bytes(b"before")
    (tmp_path / "x.db-wal").write_bytes(b"log")
    early, late = SqliteFile(path), SqliteFile(path)
    before = early.check()
    assert before is not None
    early.opened(before)
    (tmp_path / "new.db").write_bytes(b"after")
    (tmp_path / "new.db").rename(path)
    with pytest.raises(LedgerUnavailable, match="belongs to the one before"):
        early.check()
    after = late.identity
    assert after is not None
    late.opened(after)
    assert early.check() == after
