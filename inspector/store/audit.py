"""The audit: who changed what, when and why. Rows are only added, and every row holds the hash of the row before it.

The database refuses to change or remove a row (migration 0014). Whoever owns the database can switch that off: a row
that is changed or removed then breaks the chain, and `state` finds the break. What is cut off at the end leaves no
break, which `missing` finds by an earlier head. Writers hold one lock: on SQLite the write transaction, on PostgreSQL
the one row of `registry_revision`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from inspector.store.chain import PLAIN, ChainKeys, is_sealed
from inspector.store.database import Database, chain_of
from inspector.store.row_mapping import storable
from inspector.store.stored_records import AuditEntry
from inspector.store.tables import audit, product_versions, registry_revision
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
    await connection.execute(audit.insert().values(**row, hash=chain_of(connection).seal(prev_hash, at, values)))


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
    """How many rows the chain has, and the numbers of those at which it is broken.

    `unchecked`: sealed rows whose key is not here. `is_unsealed`: there is a key, and no row was sealed with one,
    or there is no row at all although there are products.
    """

    count: int
    broken: tuple[int, ...]
    unchecked: int = 0
    is_unsealed: bool = False

    @property
    def holds(self) -> bool:
        return not self.broken and not self.is_unsealed


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The end of the chain at one time: the number of rows, and the last one's number and hash.

    Kept where those who write to the database can't, it shows later whether the end was cut off or rewritten.
    """

    at: datetime
    entries: int
    seq: int
    hash: str

    @property
    def is_sealed(self) -> bool:
        return is_sealed(self.hash)


async def head(database: Database, at: datetime) -> AuditHead:
    """The chain's end now."""
    newest = sa.select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)
    async with database.reading() as connection:
        last = (await connection.execute(newest)).one_or_none()
        number = int((await connection.execute(sa.select(sa.func.count()).select_from(audit))).scalar_one())
    return AuditHead(at, number, 0, FIRST_HASH) if last is None else AuditHead(at, number, last.seq, last.hash)


async def missing(database: Database, earlier: AuditHead) -> str | None:
    """What is not as it was at an earlier head, in a sentence; None if that head is still in the chain."""
    if earlier.seq == 0:
        return None
    until = sa.select(sa.func.count(), sa.func.max(audit.c.seq)).where(audit.c.seq <= earlier.seq)
    async with database.reading() as connection:
        number, last = (await connection.execute(until)).one()
        query = sa.select(audit.c.hash).where(audit.c.seq == earlier.seq)
        found = (await connection.execute(query)).scalar_one_or_none()
    at = format_time(earlier.at)
    if found is None:
        return f"entry {earlier.seq}, the last one at {at}, is gone; the last before it is now {last or 'none'}"
    if found != earlier.hash:
        return f"entry {earlier.seq} has not the hash that it had at {at}: it, or an entry before it, was rewritten"
    if number != earlier.entries:
        return f"up to entry {earlier.seq} there are {number} entries, and there were {earlier.entries} at {at}"
    return None


async def verify(database: Database) -> list[int]:
    """Numbers of the rows at which the chain is broken: changed rows, and rows that follow a removed row."""
    return list((await state(database)).broken)


async def state(
    database: Database, *, page_rows: int = _PAGE_ROWS, pause: Callable[[], Awaitable[None]] | None = None
) -> ChainState:
    """The chain, read from its first row to its last, so many rows at once, with a pause after each page."""
    chain = database.chain
    broken: list[int] = []
    prev_hash, after, count, unchecked, highest = FIRST_HASH, 0, 0, 0, PLAIN
    while page := await entries(database, after=after, limit=page_rows):
        count += len(page)
        for entry in page:
            rank = chain.rank(entry.hash)
            unchecked += rank is None
            if entry.prev_hash != prev_hash or not _is_right(chain, entry, rank, highest):
                broken.append(entry.seq)
            highest = max(highest, 0 if rank is None else rank)
            prev_hash, after = entry.hash, entry.seq
        if pause is not None:
            await pause()
    is_unsealed = chain.is_sealing and highest == PLAIN and (count > 0 or await _has_versions(database))
    return ChainState(count, tuple(broken), unchecked, is_unsealed=is_unsealed)


async def _has_versions(database: Database) -> bool:
    """Whether a product was ever enrolled or imported: each time wrote an entry, so an empty audit was emptied."""
    async with database.reading() as connection:
        return (await connection.execute(sa.select(product_versions.c.version).limit(1))).first() is not None


def _is_right(chain: ChainKeys, entry: AuditEntry, rank: int | None, highest: int) -> bool:
    """Whether the row is sealed as one after rows with the key `highest` has to be, and is what was sealed."""
    if rank is None:
        return not chain.is_sealing  # with keys here, one that is not among them is nobody's
    if rank < highest:
        return False
    values = [entry.user, entry.object, entry.old, entry.new, entry.reason]
    return chain.fits(entry.hash, entry.prev_hash, entry.at, values)
