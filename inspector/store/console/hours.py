"""Results counted by hour: once for each hour that is over, and kept, so that a shift of a busy line is read at once.

A count is kept when its hour has been over for `SETTLED`: what is recorded afterwards (a frame that was judged late, a
missed part that came after all) is not in it. Kept counts stay when the rows of results are pruned. Simulated frames
don't count, nor does the row of a missed part whose frame came after all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from inspector.store.console.rows import is_first
from inspector.store.database import Database
from inspector.store.tables import counted_hours, hour_counts, results

HOUR: Final = timedelta(hours=1)
SETTLED: Final = timedelta(minutes=30)
_R: Final = results.c
_KEYS: Final = ("camera", "product", "product_version", "outcome", "cause", "action", "is_first")


@dataclass(frozen=True, slots=True)
class HourCount:
    """How many results of an hour are alike. `hour`: its beginning, UTC, for example 2025-03-01T06."""

    hour: str
    camera: str
    product: str | None
    product_version: int | None
    outcome: str
    cause: str
    action: str
    is_first: bool
    results: int


async def count_hours(database: Database, since: datetime, until: datetime) -> list[HourCount]:
    """Counts of the results received from `since` until `until`, hour by hour. Kept counts are used where there are."""
    hours = list(_hours(since, until))
    kept = await _kept(database, [_named(begin) for begin, end in hours if end - begin == HOUR])
    found: list[HourCount] = []
    for begin, end in hours:
        known = kept.get(_named(begin)) if end - begin == HOUR else None
        found += await _counted(database, begin, end) if known is None else known
    return found


async def keep_hour(database: Database, now: datetime, back: timedelta) -> bool:
    """Keep the counts of the newest settled hour that has none yet, at most `back` ago. False if all have."""
    newest = (now - SETTLED - HOUR).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    wanted = [newest - HOUR * n for n in range(int(back / HOUR))]
    kept = await _kept(database, [_named(begin) for begin in wanted])
    missing = next((begin for begin in wanted if _named(begin) not in kept), None)
    if missing is None:
        return False
    counts = await _counted(database, missing, missing + HOUR)
    async with database.writing() as connection:
        if (await connection.execute(sa.select(counted_hours).where(_is(missing)))).first() is not None:
            return True  # another console was faster
        await connection.execute(counted_hours.insert(), {"hour": _named(missing), "counted_at": now})
        if counts:
            await connection.execute(hour_counts.insert(), [asdict(count) for count in counts])
    return True


def _hours(since: datetime, until: datetime) -> list[tuple[datetime, datetime]]:
    """The pieces of a time that lie in one hour each; the first and the last may be shorter than an hour."""
    pieces, begin = [], since.astimezone(UTC)
    while begin < until:
        end = min(begin.replace(minute=0, second=0, microsecond=0) + HOUR, until)
        pieces.append((begin, end))
        begin = end
    return pieces


def _named(begin: datetime) -> str:
    return f"{begin:%Y-%m-%dT%H}"


def _is(begin: datetime) -> sa.ColumnElement[bool]:
    return counted_hours.c.hour == _named(begin)


async def _kept(database: Database, hours: Sequence[str]) -> dict[str, list[HourCount]]:
    """The kept counts of these hours; an hour without any result has an empty list."""
    if not hours:
        return {}
    known = sa.select(counted_hours.c.hour).where(counted_hours.c.hour.in_(hours))
    counts = sa.select(hour_counts).where(hour_counts.c.hour.in_(hours))
    async with database.reading() as connection:
        found: dict[str, list[HourCount]] = {hour: [] for hour in (await connection.execute(known)).scalars()}
        for row in (await connection.execute(counts)).mappings():
            found.setdefault(row["hour"], []).append(_count(row["hour"], row))
    return found


async def _counted(database: Database, begin: datetime, end: datetime) -> list[HourCount]:
    first = is_first().label("is_first")
    keys = (*(_R[name] for name in _KEYS[:-1]), first)
    query = (
        sa.select(*keys, sa.func.count().label("results"))
        .where(_R.received_at >= begin, _R.received_at < end, ~_R.simulated, _R.corrected_by.is_(None))
        .group_by(*keys)
    )
    async with database.reading() as connection:
        rows = (await connection.execute(query)).mappings().all()
    return [_count(_named(begin), row) for row in rows]


def _count(hour: str, row: Mapping[Any, Any]) -> HourCount:
    values = {name: row[name] for name in _KEYS}
    return HourCount(hour=hour, results=row["results"], **{**values, "is_first": bool(values["is_first"])})
