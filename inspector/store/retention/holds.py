"""Holds: results that are kept, however old they are, until a person releases the hold.

A hold covers results by lot, product, result id and time of receipt; a result must match every value that the hold
names. A hold also keeps the result's decision, the PLC's report, conflicts, shadow results, the picture, and the
events of that time. Adding and releasing holds are audited. Code that removes rows must call `covered`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from inspector.domain import Verdict
from inspector.errors import UsageError
from inspector.ports import Clock
from inspector.store import audit
from inspector.store.database import Database
from inspector.store.row_mapping import storable
from inspector.store.tables import holds, results
from inspector.stream.verdict_record import format_time

AROUND: Final = timedelta(hours=1)
"""A hold also keeps the events up to this long before its first result and after its last result."""

LARGEST_NUMBER: Final = 2**63 - 1
"""Largest number of a row; databases refuse to compare with a larger one."""

_IDS_PER_QUERY: Final = 500


@dataclass(frozen=True, slots=True)
class Selection:
    """Selects results; None means any. `since` and `until` refer to `received_at`, `until` not included."""

    lot: str | None = None
    product: str | None = None
    result_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __str__(self) -> str:
        parts = [f"{name} {getattr(self, name)}" for name in ("lot", "product", "result_id") if getattr(self, name)]
        parts += [f"{name} {format_time(at)}" for name in ("since", "until") if (at := getattr(self, name))]
        return ", ".join(parts)

    def covers(self, verdict: Verdict) -> bool:
        """Whether a verdict is selected, by the same rule as `condition`."""
        return (
            self.lot in (None, verdict.lot)
            and self.product in (None, verdict.product)
            and self.result_id in (None, verdict.result_id)
            and (self.since is None or verdict.received_at >= self.since)
            and (self.until is None or verdict.received_at < self.until)
        )

    def condition(self) -> sa.ColumnElement[bool]:
        """True for the rows of `results` that are selected; false or unknown (NULL) for others."""
        column = results.c
        wanted = [
            column[name] == getattr(self, name) for name in ("lot", "product", "result_id") if getattr(self, name)
        ]
        if self.since is not None:
            wanted.append(column.received_at >= self.since)
        if self.until is not None:
            wanted.append(column.received_at < self.until)
        return sa.and_(*wanted)


@dataclass(frozen=True, slots=True)
class Hold:
    """One hold. `released_at` is None while it has effect."""

    number: int
    selection: Selection
    reason: str
    by: str
    held_at: datetime
    released_at: datetime | None = None
    released_by: str | None = None


Span = tuple[datetime | None, datetime | None]
"""A span of time, both ends included. None: open at that end."""


async def add(database: Database, clock: Clock, selection: Selection, *, by: str, reason: str) -> Hold:
    """Add a hold. It takes effect at once, also on a prune under way. Raises UsageError for an empty selection."""
    if selection == Selection():
        raise UsageError("A hold needs a lot, a product, a result or a time; holding everything is having no rules.")
    for name in ("lot", "product", "result_id"):
        named = getattr(selection, name)
        if named is not None and not named.strip():
            raise UsageError(f"A hold with an empty {name.removesuffix('_id')} would keep nothing; name one.")
    if selection.since is not None and selection.until is not None and selection.since >= selection.until:
        raise UsageError("A hold can't end before it begins; change --since or --until.")
    now = clock.now()
    row = {
        "lot": storable(selection.lot),
        "product": storable(selection.product),
        "result_id": selection.result_id,
        "since": selection.since,
        "until": selection.until,
        "reason": storable(reason),
        "by_name": storable(by),
        "held_at": now,
    }
    async with database.writing() as connection:
        await audit.hold_lock(connection)
        named = selection.result_id
        if named is not None and not await _covers_any(connection, Selection(result_id=named)):
            raise UsageError(
                f"There is no result {named!r}, so the hold would keep nothing; "
                "`inspector results list --json` shows whole ids."
            )
        number = (await connection.execute(holds.insert().values(**row))).inserted_primary_key[0]  # type: ignore[index]  # one row, one key
        change = audit.Change(by, f"hold/{number}", None, str(selection), reason)
        await audit.append(connection, now, change)
    return Hold(number, selection, reason, by, now)


async def keeps_any(database: Database, hold: Hold) -> bool:
    """Whether the hold covers any result now."""
    async with database.reading() as connection:
        return await _covers_any(connection, hold.selection)


async def release(database: Database, clock: Clock, number: int, *, by: str, reason: str) -> Hold:
    """Release a hold. Raises UsageError for an unknown hold, and for a hold that is released already."""
    now = clock.now()
    async with database.writing() as connection:
        await audit.hold_lock(connection)
        found = await _read(connection, holds.c.id == number) if 0 < number <= LARGEST_NUMBER else []
        if not found or found[0].released_at is not None:
            what = "is released already" if found else "is none"
            raise UsageError(f"There is nothing to release: {number} {what}; see `inspector db hold list`.")
        await connection.execute(
            holds.update().where(holds.c.id == number).values(released_at=now, released_by=storable(by))
        )
        await audit.append(connection, now, audit.Change(by, f"hold/{number}", str(found[0].selection), None, reason))
        return (await _read(connection, holds.c.id == number))[0]


async def listed(database: Database, *, with_released: bool = False) -> list[Hold]:
    """The holds, ordered by number."""
    async with database.reading() as connection:
        return await (_read(connection) if with_released else active(connection))


async def active(connection: AsyncConnection) -> list[Hold]:
    """The holds that have effect now."""
    return await _read(connection, holds.c.released_at.is_(None))


def covered(held: Sequence[Hold]) -> sa.ColumnElement[bool]:
    """True for the rows of `results` that a hold covers, false for all others."""
    # Comparing a missing lot gives NULL, which must count as false here.
    return sa.func.coalesce(sa.or_(sa.false(), *(hold.selection.condition() for hold in held)), sa.false())


def covered_by_result(result_id: sa.ColumnElement[str], held: Sequence[Hold]) -> sa.ColumnElement[bool]:
    """True if a hold covers the result with that id."""
    if not held:
        return sa.false()
    return sa.exists().where(results.c.result_id == result_id, covered(held)).correlate_except(results)


def covered_by_lot(lot: sa.ColumnElement[str | None], held: Sequence[Hold]) -> sa.ColumnElement[bool]:
    """True if a hold is of that whole lot, not of a time, a product or a result within it; false for no lot."""
    lots = [hold.selection.lot for hold in held if hold.selection == Selection(lot=hold.selection.lot)]
    return sa.func.coalesce(lot.in_(lots), sa.false()) if lots else sa.false()


def covered_in_time(at: sa.ColumnElement[datetime], spans: Sequence[Span]) -> sa.ColumnElement[bool]:
    """True if `at` is within one of the spans."""
    within = []
    for first, last in spans:
        ends = [at >= first] if first is not None else []
        within.append(sa.and_(sa.true(), *ends, *([at <= last] if last is not None else [])))
    return sa.or_(sa.false(), *within)


async def spans(connection: AsyncConnection, held: Sequence[Hold]) -> list[Span]:
    """The time span of each hold: its results' span if the hold names a lot or an id, else the span that it names."""
    return [span for hold in held if (span := await _span(connection, hold.selection)) is not None]


async def held_ids(database: Database, result_ids: Sequence[str]) -> set[str]:
    """The results among these that a hold covers now. Without any hold, the table `results` is not read."""
    found: set[str] = set()
    async with database.reading() as connection:
        held = await active(connection)
        if not held:
            return found
        found.update(hold.selection.result_id for hold in held if hold.selection.result_id is not None)
        for start in range(0, len(result_ids), _IDS_PER_QUERY):
            ids = result_ids[start : start + _IDS_PER_QUERY]
            query = sa.select(results.c.result_id).where(results.c.result_id.in_(ids), covered(held))
            found.update((await connection.execute(query)).scalars())
    return found


async def _covers_any(connection: AsyncConnection, selection: Selection) -> bool:
    query = sa.select(results.c.seq).where(selection.condition()).limit(1)
    return (await connection.execute(query)).first() is not None


async def _span(connection: AsyncConnection, selection: Selection) -> Span | None:
    if selection.lot is None and selection.result_id is None:
        since, until = selection.since, selection.until
        return (since - AROUND if since else None, until + AROUND if until else None)
    query = sa.select(
        sa.func.min(results.c.received_at, type_=results.c.received_at.type),
        sa.func.max(results.c.received_at, type_=results.c.received_at.type),
    ).where(selection.condition())
    first, last = (await connection.execute(query)).one()
    return None if first is None else (first - AROUND, last + AROUND)


async def _read(connection: AsyncConnection, *wanted: sa.ColumnElement[bool]) -> list[Hold]:
    rows = (await connection.execute(sa.select(holds).where(*wanted).order_by(holds.c.id))).mappings()
    return [
        Hold(
            number=row["id"],
            selection=Selection(row["lot"], row["product"], row["result_id"], row["since"], row["until"]),
            reason=row["reason"],
            by=row["by_name"],
            held_at=row["held_at"],
            released_at=row["released_at"],
            released_by=row["released_by"],
        )
        for row in rows
    ]
