"""The audit: who changed what, when and why. Rows are only added, and every row holds the hash of the row before it.

A row that is changed or removed later breaks the chain, and `verify` finds the break. Writers hold one
lock: on SQLite the write transaction, on PostgreSQL the one row of `registry_revision`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from inspector.store.database import Database
from inspector.store.row_mapping import storable
from inspector.store.stored_records import AuditEntry
from inspector.store.tables import audit, registry_revision
from inspector.stream.verdict_record import format_time

FIRST_HASH: Final = "0" * 64
"""`prev_hash` of the first row."""

_PAGE_ROWS: Final = 500


@dataclass(frozen=True, slots=True)
class Change:
    """One change by one person. `old` None: there was no value before. `new` None: there is no value now."""

    user: str
    object: str
    old: str | None
    new: str | None
    reason: str


async def hold_lock(connection: AsyncConnection) -> int:
    """Lock out other writers of registry and audit until this transaction ends. Returns the registry's revision."""
    query = sa.select(registry_revision.c.revision).where(registry_revision.c.id == 1).with_for_update()
    return int((await connection.execute(query)).scalar_one())


async def append(connection: AsyncConnection, at: datetime, change: Change) -> None:
    """Add one row to the chain, in the caller's transaction. The transaction holds the lock until it ends."""
    await hold_lock(connection)
    newest = sa.select(audit.c.hash).order_by(audit.c.seq.desc()).limit(1)
    prev_hash = (await connection.execute(newest)).scalar_one_or_none() or FIRST_HASH
    row = {
        "at": at,
        "user_name": storable(change.user),
        "object": storable(change.object),
        "old_value": storable(change.old),
        "new_value": storable(change.new),
        "reason": storable(change.reason),
        "prev_hash": prev_hash,
    }
    values = [row["user_name"], row["object"], row["old_value"], row["new_value"], row["reason"]]
    await connection.execute(audit.insert().values(**row, hash=_hash(prev_hash, at, values)))


async def record(database: Database, at: datetime, change: Change) -> None:
    """Add one row to the chain, in a transaction of its own."""
    async with database.writing() as connection:
        await append(connection, at, change)


async def entries(database: Database, *, after: int = 0, limit: int = _PAGE_ROWS) -> list[AuditEntry]:
    """Up to `limit` rows after the row with the number `after`, oldest first."""
    query = sa.select(audit).where(audit.c.seq > after).order_by(audit.c.seq).limit(limit)
    async with database.reading() as connection:
        rows = (await connection.execute(query)).mappings().all()
    return [_entry(row) for row in rows]


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Selects entries; None means any. `about`: the object, or its beginning up to a slash. `until` is not included.

    `before`: only entries with a smaller number, for the next page.
    """

    user: str | None = None
    about: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None


async def listed(database: Database, wanted: AuditFilter, *, limit: int) -> list[AuditEntry]:
    """The newest `limit` entries, newest first."""
    conditions: list[sa.ColumnElement[bool]] = []
    if wanted.user is not None:
        conditions.append(audit.c.user_name == storable(wanted.user))
    if wanted.about is not None:
        about = storable(wanted.about.rstrip("/"))
        conditions.append(sa.or_(audit.c.object == about, audit.c.object.startswith(f"{about}/", autoescape=True)))
    if wanted.since is not None:
        conditions.append(audit.c.at >= wanted.since)
    if wanted.until is not None:
        conditions.append(audit.c.at < wanted.until)
    if wanted.before is not None:
        conditions.append(audit.c.seq < wanted.before)
    query = sa.select(audit).where(*conditions).order_by(audit.c.seq.desc()).limit(limit)
    async with database.reading() as connection:
        return [_entry(row) for row in (await connection.execute(query)).mappings()]


async def newest(database: Database, what: str) -> AuditEntry | None:
    """The last row about this object, or None."""
    query = sa.select(audit).where(audit.c.object == storable(what)).order_by(audit.c.seq.desc()).limit(1)
    async with database.reading() as connection:
        row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else _entry(row)


def _entry(row: Mapping[Any, Any]) -> AuditEntry:
    return AuditEntry(
        seq=row["seq"],
        at=row["at"],
        user=row["user_name"],
        object=row["object"],
        old=row["old_value"],
        new=row["new_value"],
        reason=row["reason"],
        prev_hash=row["prev_hash"],
        hash=row["hash"],
    )


async def count(database: Database) -> int:
    """How many entries there are."""
    async with database.reading() as connection:
        return int((await connection.execute(sa.select(sa.func.count()).select_from(audit))).scalar_one())


async def newest_entries(database: Database, *, before: int | None = None, limit: int) -> list[AuditEntry]:
    """Up to `limit` rows before the row with that number (None: the newest), newest first."""
    query = sa.select(audit).order_by(audit.c.seq.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.seq < before)
    async with database.reading() as connection:
        rows = (await connection.execute(query)).mappings().all()
    return [_entry(row) for row in rows]


@dataclass(frozen=True, slots=True)
class ChainState:
    """How many rows the chain has, and the numbers of those at which it is broken."""

    count: int
    broken: tuple[int, ...]


async def verify(database: Database) -> list[int]:
    """Numbers of the rows at which the chain is broken: changed rows, and rows that follow a removed row."""
    return list((await state(database)).broken)


async def state(database: Database) -> ChainState:
    """The chain, read from its first row to its last."""
    broken: list[int] = []
    prev_hash, after, count = FIRST_HASH, 0, 0
    while page := await entries(database, after=after):
        count += len(page)
        for entry in page:
            values = [entry.user, entry.object, entry.old, entry.new, entry.reason]
            if entry.prev_hash != prev_hash or entry.hash != _hash(entry.prev_hash, entry.at, values):
                broken.append(entry.seq)
            prev_hash, after = entry.hash, entry.seq
    return ChainState(count, tuple(broken))


def _hash(prev_hash: str, at: datetime, values: Sequence[str | None]) -> str:
    return hashlib.sha256(orjson.dumps([prev_hash, format_time(at), *values])).hexdigest()
