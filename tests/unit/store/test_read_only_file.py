"""A SQLite file that can't be written, and is mended while in use. Root ignores rights: a child gives up root's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from inspector.errors import DatabaseReadOnly
from inspector.store.database import Database
from tests.faults.people import NO_POWERS

READERS = 8
TRIES = 3
TRIES_AFTER = 10


def test_file_that_is_mended_is_written_again_though_readers_overlap(tmp_path: Path) -> None:
    powers = NO_POWERS if os.geteuid() == 0 else ()
    done = subprocess.run(
        [*powers, sys.executable, "-m", __name__, str(tmp_path / "x.db")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def use(file: Path) -> None:
    url = f"sqlite:///{file}"
    async with Database(url) as database, database.writing() as connection:
        await connection.exec_driver_sql("CREATE TABLE t (number INTEGER)")
    file.chmod(0o444)
    async with Database(url) as database, database.reading() as connection:
        await count(connection)  # it leaves a read-only x.db-shm behind
    async with Database(url) as database:
        readers = [asyncio.create_task(read(database, each)) for each in range(READERS)]
        for number in range(TRIES):
            with pytest.raises(DatabaseReadOnly, match=r"x\.db can't be written; .*-wal and -shm"):
                await write(database, number)
        assert file.with_name("x.db-shm").stat().st_mode & 0o777 == 0o444
        file.chmod(0o640)
        for _ in range(TRIES_AFTER):
            with contextlib.suppress(DatabaseReadOnly):
                await write(database, TRIES)
                break
        for reader in readers:
            assert not reader.done(), reader
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        async with database.reading() as connection:
            found = (await connection.exec_driver_sql("SELECT number FROM t")).scalars().all()
        assert found == [TRIES]
        assert all(each.stat().st_mode & 0o200 for each in file.parent.iterdir())


async def read(database: Database, number: int) -> None:
    while True:
        async with database.reading() as connection:
            await count(connection)
            await asyncio.sleep(0.1 + 0.02 * number)


async def count(connection: AsyncConnection) -> None:
    await connection.exec_driver_sql("SELECT count(*) FROM t")


async def write(database: Database, number: int) -> None:
    async with database.writing() as connection:
        await connection.exec_driver_sql(f"INSERT INTO t VALUES ({number})")


if __name__ == "__main__":
    asyncio.run(use(Path(sys.argv[1])))
