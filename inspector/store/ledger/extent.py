"""How far back the store reaches: who asks for a longer time is spared the hours in which nothing can be."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from inspector.store import tables
from inspector.store.database import Database


async def oldest_at(database: Database) -> datetime | None:
    """When the oldest result or report of a PLC that is still stored was received; None if there is none."""
    columns = (tables.results.c.received_at, tables.gate_actions.c.received_at)
    async with database.reading() as connection:
        found = [(await connection.execute(sa.select(sa.func.min(each, type_=each.type)))).scalar() for each in columns]
    return min((at for at in found if at is not None), default=None)
