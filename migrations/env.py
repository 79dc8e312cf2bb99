"""Runs migrations on the connection that `inspector.store.database` hands over, in one transaction.

From the alembic command line give the database as `-x url=...` (asynchronous drivers, as in the
configuration). A lock is held while migrating, so that two agents starting at once don't both do it.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import sqlalchemy as sa
from alembic import context
from alembic.autogenerate.api import AutogenContext

from inspector.store import tables
from inspector.store.database import Database

_LOCK_KEY = 0x696E7370  # "insp"; any number that no other user of the same PostgreSQL locks


def render_item(kind: str, item: Any, _: AutogenContext) -> str | Literal[False]:
    """Migrations must not import today's tables: they spell the time type out as `utc_time()`."""
    return "utc_time()" if kind == "type" and isinstance(item, tables.UtcTime) else False


def migrate(connection: sa.Connection) -> None:
    """On SQLite the connection has begun IMMEDIATE, which is the lock; PostgreSQL gets an advisory one."""
    context.configure(
        connection=connection,
        target_metadata=tables.metadata,
        render_as_batch=True,
        render_item=render_item,
        compare_type=True,
    )
    with context.begin_transaction():
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        context.run_migrations()


async def migrate_url(url: str) -> None:
    """For the alembic command line."""
    async with Database(url) as database, database.writing() as connection:
        await connection.run_sync(migrate)


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    asyncio.run(migrate_url(context.get_x_argument(as_dictionary=True)["url"]))
