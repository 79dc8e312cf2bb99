"""Results counted by hour: once for each hour that is over, and kept, so that a shift of a busy line is read at once.

A count is kept when its hour has been over for `SETTLED`: what is recorded afterwards (a frame that was judged late, a
missed part that came after all) is not in it. Kept counts stay when the rows of results are pruned. Simulated frames
don't count, nor does the row of a missed part whose frame came after all.

The hours that are not kept yet are counted in pieces of ten minutes. `RecentPieces` remembers these and counts one
again when a mark that is read cheaply has changed, so that what it says is always what a plain count would say.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from inspector.domain import Outcome
from inspector.store.console.rows import is_first
from inspector.store.database import Database
from inspector.store.tables import counted_hours, hour_counts, results

HOUR: Final = timedelta(hours=1)
SETTLED: Final = timedelta(minutes=30)
PIECE: Final = timedelta(minutes=10)
_MOST_PIECES: Final = 300
_UNJUDGED: Final = (Outcome.UNJUDGED.value, Outcome.UNINSPECTED.value)
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


Mark = tuple[int, int]
"""Rows of a piece, and how much is known of those that were neither passed nor rejected: that only grows."""


class RecentPieces:
    """The counts of pieces of hours, with the marks by which they are known to hold still."""

    def __init__(self) -> None:
        self._known: OrderedDict[datetime, tuple[Mark, list[HourCount]]] = OrderedDict()

    async def count(self, database: Database, begin: datetime, end: datetime) -> list[HourCount]:
        """Counts of a time within one hour."""
        pieces = list(_pieces(begin, end, PIECE))
        marks = await _marks(database, [piece for piece in pieces if piece[1] - piece[0] == PIECE])
        found: list[HourCount] = []
        for at, until in pieces:
            mark, known = marks.get(at), self._known.get(at)
            if mark is not None and known is not None and known[0] == mark:
                self._known.move_to_end(at)
                found += known[1]
                continue
            counts = await _counted(database, at, until)
            if mark is not None:  # read before the rows: what came in between makes the next mark another one
                self._known[at] = mark, counts
            found += counts
        while len(self._known) > _MOST_PIECES:
            self._known.popitem(last=False)
        return _joined(found)


async def count_hours(
    database: Database, since: datetime, until: datetime, recent: RecentPieces | None = None
) -> list[HourCount]:
    """Counts of the results received from `since` until `until`, hour by hour. Kept counts are used where there are.

    `recent`: what was counted before of the hours that are not kept yet.
    """
    hours = _pieces(since, until, HOUR)
    kept = await _kept(database, [_named(begin) for begin, end in hours if end - begin == HOUR])
    found: list[HourCount] = []
    for begin, end in hours:
        known = kept.get(_named(begin)) if end - begin == HOUR else None
        if known is not None:
            found += known
        elif recent is not None:
            found += await recent.count(database, begin, end)
        else:
            found += await _counted(database, begin, end)
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


def _pieces(since: datetime, until: datetime, length: timedelta) -> list[tuple[datetime, datetime]]:
    """The pieces of a time that lie in one hour, or part of an hour, each; the first and the last may be shorter."""
    pieces, begin = [], since.astimezone(UTC)
    while begin < until:
        hour = begin.replace(minute=0, second=0, microsecond=0)
        end = min(hour + ((begin - hour) // length + 1) * length, until)
        pieces.append((begin, end))
        begin = end
    return pieces


async def _marks(database: Database, pieces: Sequence[tuple[datetime, datetime]]) -> dict[datetime, Mark]:
    """The mark of each piece, by its beginning.

    Of the columns that are counted by, those of a passed or rejected part never change. Another row may be corrected,
    or judged late and get its product by that. The database finds each number in an index, or in the few rows of its
    kind.
    """
    if not pieces:
        return {}
    parts = []
    for number, (begin, end) in enumerate(pieces):
        within = (_R.received_at >= begin, _R.received_at < end)
        known = sa.func.count(_R.corrected_by) + sa.func.count(_R.product) + sa.func.count(_R.product_version)
        others = sa.select(known).where(*within, _R.outcome.in_(_UNJUDGED)).scalar_subquery()
        rows = sa.select(sa.func.count()).select_from(results).where(*within).scalar_subquery()
        parts.append(sa.select(sa.literal(number), rows, others))
    async with database.reading() as connection:
        found = (await connection.execute(sa.union_all(*parts))).all()
    return {pieces[number][0]: (rows, known) for number, rows, known in found}


def _joined(counts: Sequence[HourCount]) -> list[HourCount]:
    """The same with each kind of result once for each hour."""
    total: Counter[HourCount] = Counter()
    for each in counts:
        total[replace(each, results=0)] += each.results
    return [replace(kind, results=number) for kind, number in total.items()]


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
