"""A SQLite file that is moved away or replaced while it is in use: nothing is written where nobody would find it."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from inspector.errors import LedgerUnavailable
from inspector.store.database import Database

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
