"""A transaction that is cancelled at any moment leaves no lock and no half of itself."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from inspector.errors import LedgerUnavailable
from inspector.store.database import Database
from inspector.store.sqlite_connections import BUSY_TIMEOUT_MS

ROWS = 4
WRITERS = 6
ROUNDS = 40


@pytest.fixture
def _no_collections() -> Iterator[None]:
    """A connection that is thrown away may be closed by the garbage collection, which comes late in an agent."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.usefixtures("_no_collections")
async def test_writing_cancelled_at_any_moment_keeps_no_lock_and_no_part(tmp_path: Path, times: int) -> None:
    chance = random.Random(times)
    async with Database(f"sqlite:///{tmp_path / 'x.db'}") as database:
        async with database.writing() as connection:
            await connection.exec_driver_sql("CREATE TABLE t (number INTEGER)")
        for number in range(ROUNDS):
            tasks = [asyncio.create_task(write(database, number * WRITERS + each)) for each in range(WRITERS)]
            await asyncio.sleep(chance.uniform(0, 0.05))
            for _ in range(times):
                for task in tasks:
                    task.cancel()
                await asyncio.sleep(chance.choice([0, 0.001]))
            await asyncio.gather(*tasks, return_exceptions=True)
            assert await is_writable(tmp_path / "x.db"), f"round {number}"
            await write(database, -1)  # the connections are of use
        async with database.reading() as connection:
            found = await connection.exec_driver_sql("SELECT number, count(*) FROM t GROUP BY number")
            counts = {row[0]: row[1] for row in found}
    assert counts.pop(-1) == ROUNDS * ROWS
    assert set(counts.values()) <= {ROWS}


async def write(database: Database, number: int) -> None:
    async with database.writing() as connection:
        for _ in range(ROWS):
            await connection.exec_driver_sql(f"INSERT INTO t VALUES ({number}) RETURNING number")


async def is_writable(file: Path) -> bool:
    """Whether another connection can write now, or soon: a statement that still runs may come to its end."""
    with contextlib.closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as connection:
        for _ in range(2 * BUSY_TIMEOUT_MS // 10):
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                await asyncio.sleep(0.01)
            else:
                return True
    return False


async def test_writing_that_fails_leaves_no_connection_open_that_was_in_use(tmp_path: Path) -> None:
    """While one is open that found the file read-only, all new ones of this process are read-only too."""
    async with Database(f"sqlite:///{tmp_path / 'x.db'}") as database:
        async with database.reading() as connection:
            used = (await connection.get_raw_connection()).driver_connection
            assert used is not None
            with pytest.raises(LedgerUnavailable):
                async with database.writing():
                    raise LedgerUnavailable("the file can't be written")
        with pytest.raises(ValueError, match="no active connection"):
            await used.execute("SELECT 1")
        async with database.writing() as connection:
            kept = (await connection.get_raw_connection()).driver_connection
        assert kept is not None
        await kept.execute("SELECT 1")
