"""What the user of a connection may do in the database beyond the work of an agent. Asks, and changes nothing."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from inspector.store.database import Database

BEYOND_AN_AGENT: Final = {
    "audit": "change and remove rows of the audit",
    "product_versions": "change what judges",
    "people": "give itself a password for the console",
}
"""Tables that an agent only adds to or reads, and in words what a right to change them means."""


async def too_much(database: Database) -> list[str]:
    """What this user could do and an agent need not, in words. Empty for SQLite, where the file's mode decides."""
    if database.is_sqlite:
        return []
    async with database.reading() as connection:
        asked = {table: sa.func.has_table_privilege(table, "UPDATE, DELETE, TRUNCATE") for table in BEYOND_AN_AGENT}
        query = sa.select(*(each.label(table) for table, each in asked.items()))
        row = (await connection.execute(query)).mappings().one()
    return [words for table, words in BEYOND_AN_AGENT.items() if row[table]]


async def missing_guards(database: Database) -> list[str]:
    """Triggers that keep rows of the audit from being changed or removed, and are gone or switched off."""
    if database.is_sqlite:
        wanted = ["audit_no_update", "audit_no_delete", "audit_no_replace"]
        query = sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit'")
    else:
        wanted = ["audit_no_change", "audit_no_truncate"]
        # O and A: fires in a session of a client; D and R: it does not.
        query = sa.text("SELECT tgname FROM pg_trigger WHERE tgrelid = 'audit'::regclass AND tgenabled IN ('O', 'A')")
    async with database.reading() as connection:
        there = set((await connection.execute(query)).scalars())
    return [name for name in wanted if name not in there]
