"""The roles of `configs/postgresql/roles.sql` in a database of a test, and users of them."""

from __future__ import annotations

import asyncio
import subprocess
import uuid
from pathlib import Path

from inspector.store.database import Database
from inspector.testing.postgres import PostgresServer

SCRIPT = Path(__file__).parents[2] / "configs" / "postgresql" / "roles.sql"


def run_script(server: PostgresServer, database: Database) -> None:
    where = ["-h", "127.0.0.1", "-p", str(server.port), "-U", str(database.url.username)]
    where.append(str(database.url.database))
    command = ["psql", *where, "--single-transaction", "--set", "ON_ERROR_STOP=1", "--quiet", "--file", str(SCRIPT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


class Users:
    """Opens the database as a user of one role."""

    def __init__(self, owned: Database) -> None:
        self._owned = owned
        self._opened: list[Database] = []

    async def of(self, role: str) -> Database:
        name = f"u{uuid.uuid4().hex[:12]}"
        async with self._owned.writing() as connection:
            await connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN IN ROLE {role}")
        self._opened.append(Database(self._owned.url.set(username=name)))
        return self._opened[-1]

    async def close(self) -> None:
        await asyncio.gather(*(database.__aexit__() for database in self._opened))
