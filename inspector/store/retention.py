"""Taking old rows out, a batch at a time, so that no writer ever waits for long.

Products, versions, audit rows, reviews and gates' states are never taken out.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import sqlalchemy as sa

from inspector.store import tables
from inspector.store.database import Database

_AGED: Final[dict[str, sa.Column[datetime]]] = {
    "results": tables.results.c.received_at,
    "shadow_results": tables.shadow_results.c.decided_at,
    "decisions": tables.decisions.c.updated_at,
    "gate_actions": tables.gate_actions.c.received_at,
    "conflicts": tables.conflicts.c.at,
    "events": tables.events.c.at,
}
"""The tables that grow with the line, with the time that tells a row's age."""


async def prune(database: Database, before: datetime, *, batch_rows: int = 2000) -> dict[str, int]:
    """Takes out everything that grows with the line and is older; returns rows per table."""
    return {name: await _prune(database, column, before, batch_rows) for name, column in _AGED.items()}


async def prune_results(database: Database, before: datetime, *, batch_rows: int = 2000) -> int:
    """Takes out results received before; returns how many. Each batch is a transaction of its own."""
    return await _prune(database, tables.results.c.received_at, before, batch_rows)


async def _prune(database: Database, at: sa.Column[datetime], before: datetime, batch_rows: int) -> int:
    (key,) = at.table.primary_key
    oldest = sa.select(key).where(at < before).order_by(at).limit(batch_rows)
    total = 0
    while True:
        async with database.writing() as connection:
            taken = (await connection.execute(sa.delete(at.table).where(key.in_(oldest)))).rowcount
        total += taken
        if taken < batch_rows:
            return total
