"""What somebody does to the audit who owns the database: its guards are dropped, and rows changed and sealed anew."""

from __future__ import annotations

import sqlalchemy as sa

from inspector.store import audit, tables
from inspector.store.chain import ChainKeys
from inspector.store.database import Database

SQLITE_GUARDS = ("audit_no_update", "audit_no_delete", "audit_no_replace")
POSTGRESQL_GUARDS = ("audit_no_change", "audit_no_truncate")


async def drop_guards(database: Database) -> None:
    """As the owner of the tables may do it."""
    async with database.writing() as connection:
        for name in SQLITE_GUARDS if database.is_sqlite else POSTGRESQL_GUARDS:
            on = "" if database.is_sqlite else " ON audit"
            await connection.execute(sa.text(f"DROP TRIGGER IF EXISTS {name}{on}"))


async def cut(database: Database, after: int) -> None:
    """Remove the end of the chain."""
    await drop_guards(database)
    async with database.writing() as connection:
        await connection.execute(sa.delete(tables.audit).where(tables.audit.c.seq > after))


async def rewrite(database: Database, seq: int, chain: ChainKeys, **values: str) -> None:
    """Change one row and give it and all after it hashes by this chain, as this software would have made them."""
    await drop_guards(database)
    rows = await audit.entries(database, limit=1000)
    prev_hash = audit.FIRST_HASH
    async with database.writing() as connection:
        for row in rows:
            changed = {"user_name": row.user, "reason": row.reason, **(values if row.seq == seq else {})}
            sealed = row.hash
            if row.seq >= seq:
                content = [changed["user_name"], row.object, row.old, row.new, changed["reason"]]
                sealed = chain.seal(prev_hash, row.at, content)
            statement = tables.audit.update().where(tables.audit.c.seq == row.seq)
            await connection.execute(statement.values(**changed, prev_hash=prev_hash, hash=sealed))
            prev_hash = sealed
