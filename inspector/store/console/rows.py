"""Results for the console's lists and its live page: a few columns of each row, by the number of recording.

Lists are paged by the place of a row, never by an offset, so that the last page costs what the first one costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from inspector.domain import Cause, Outcome
from inspector.store.database import Database
from inspector.store.row_mapping import storable
from inspector.store.tables import UtcTime, results

_R: Final = results.c
_COLUMNS: Final = (
    "seq",
    "result_id",
    "camera",
    "gate",
    "mode",
    "trigger_id",
    "part_id",
    "inspection_no",
    "lot",
    "product",
    "product_version",
    "outcome",
    "cause",
    "cause_detail",
    "action",
    "level",
    "received_at",
    "decided_at",
    "total_ms",
    "published",
    "simulated",
    "agent",
    "corrected_by",
)


@dataclass(frozen=True, slots=True)
class SeenRow:
    """A row of `results`, as far as lists and the live page show it. `outcome` and `cause` are the store's words."""

    seq: int
    result_id: str
    camera: str
    gate: str | None
    mode: str
    trigger_id: int | None
    part_id: str | None
    inspection_no: int | None
    lot: str | None
    product: str | None
    product_version: int | None
    outcome: str
    cause: str
    cause_detail: str | None
    action: str
    level: float | None
    received_at: datetime
    decided_at: datetime
    total_ms: float | None
    published: bool | None
    simulated: bool
    agent: str
    corrected_by: str | None


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Selects rows; None means any.

    `before` and `after`: rows that come before or after this place in the list, for paging.
    """

    camera: str | None = None
    product: str | None = None
    outcomes: tuple[Outcome, ...] = ()
    causes: tuple[Cause, ...] = ()
    action: str | None = None
    lot: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: Place | None = None
    after: Place | None = None

    @property
    def is_by_time(self) -> bool:
        """Whether rows are listed by the time when they were received: the indexes of these filters have that order."""
        return bool(self.outcomes or self.product or self.lot)


@dataclass(frozen=True, slots=True)
class Place:
    """A row's place in a list. `at` counts only in lists by time."""

    seq: int
    at: datetime


async def list_rows(database: Database, wanted: RowFilter, limit: int) -> list[SeenRow]:
    """At most `limit` rows, newest first; with `after`, those that come next after it, newest first.

    They are in the order of recording, or by the time when they were received (`RowFilter.is_by_time`).
    """
    order = [_R.received_at, _R.seq] if wanted.is_by_time else [_R.seq]
    is_up = wanted.after is not None
    query = sa.select(*listed_columns()).where(*_conditions(wanted)).limit(limit)
    query = query.order_by(*(column if is_up else column.desc() for column in order))
    rows = [row_of(row) for row in await _read(database, query)]
    return rows[::-1] if is_up else rows


async def newest_seq(database: Database) -> int:
    """The number of the newest row; 0 without any."""
    async with database.reading() as connection:
        found = (await connection.execute(sa.select(sa.func.max(_R.seq)))).scalar_one_or_none()
    return int(found or 0)


async def place_of(database: Database, result_id: str) -> Place | None:
    """The place of this result's row, or None."""
    rows = await _read(database, sa.select(_R.seq, _R.received_at).where(_R.result_id == storable(result_id)))
    return Place(rows[0]["seq"], rows[0]["received_at"]) if rows else None


async def rows_after(database: Database, seq: int, limit: int) -> list[SeenRow]:
    """The next `limit` rows after that number, oldest first."""
    query = sa.select(*listed_columns()).where(_R.seq > seq).order_by(_R.seq).limit(limit)
    return [row_of(row) for row in await _read(database, query)]


async def rows_numbered(database: Database, numbers: Sequence[int]) -> list[SeenRow]:
    """The rows with these numbers, as far as they are there, oldest first."""
    query = sa.select(*listed_columns()).where(_R.seq.in_(numbers)).order_by(_R.seq)
    return [row_of(row) for row in await _read(database, query)]


@dataclass(frozen=True, slots=True)
class MinuteCount:
    """How many results of a camera are alike in one minute. `minute`: its beginning, UTC."""

    minute: datetime
    camera: str
    outcome: str
    cause: str
    action: str
    is_first: bool
    results: int


async def count_minutes(database: Database, since: datetime, until_seq: int) -> list[MinuteCount]:
    """Counts of the rows received from `since` on, up to this number of recording. Simulated frames don't count."""
    minute = _cut(_R.received_at, "minute", is_sqlite=database.is_sqlite).label("minute")
    first = is_first().label("is_first")
    keys = (minute, _R.camera, _R.outcome, _R.cause, _R.action, first)
    query = (
        sa.select(*keys, sa.func.count().label("results"))
        # The sum keeps SQLite from walking through all rows by their numbers instead of the index of times.
        .where(_R.received_at >= since, _R.seq + 0 <= until_seq, ~_R.simulated, _R.corrected_by.is_(None))
        .group_by(*keys)
    )
    return [
        MinuteCount(
            row["minute"],
            row["camera"],
            row["outcome"],
            row["cause"],
            row["action"],
            bool(row["is_first"]),
            row["results"],
        )
        for row in await _read(database, query)
    ]


def is_first() -> sa.ColumnElement[bool]:
    """Whether a row is the first inspection of its part, as far as that is known."""
    return sa.or_(_R.inspection_no.is_(None), _R.inspection_no == 1)


def _cut(at: Any, unit: str, *, is_sqlite: bool) -> sa.ColumnElement[datetime]:
    """The beginning of the minute or hour that a time lies in."""
    if not is_sqlite:
        return sa.func.date_trunc(unit, at, type_=UtcTime())
    kept, rest = {"minute": (16, ":00.000Z"), "hour": (13, ":00:00.000Z")}[unit]
    text = sa.func.substr(sa.type_coerce(at, sa.String), 1, kept, type_=sa.String)
    return sa.type_coerce(text.concat(rest), UtcTime())


def _conditions(wanted: RowFilter) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    for name in ("camera", "product", "action", "lot"):
        value = getattr(wanted, name)
        if value is not None:
            conditions.append(_R[name] == storable(value))
    if wanted.outcomes:
        conditions.append(_R.outcome.in_([each.value for each in wanted.outcomes]))
    if wanted.causes:
        conditions.append(_R.cause.in_([each.value for each in wanted.causes]))
    if wanted.outcomes == (Outcome.UNINSPECTED,):
        conditions.append(_R.corrected_by.is_(None))
    if wanted.since is not None:
        conditions.append(_R.received_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(_R.received_at < wanted.until)
    if wanted.before is not None:
        conditions.append(_beyond(wanted, wanted.before, is_before=True))
    if wanted.after is not None:
        conditions.append(_beyond(wanted, wanted.after, is_before=False))
    return conditions


def _beyond(wanted: RowFilter, place: Place, *, is_before: bool) -> sa.ColumnElement[bool]:
    is_beyond = _R.seq < place.seq if is_before else _R.seq > place.seq
    if not wanted.is_by_time:
        return is_beyond
    is_later = _R.received_at < place.at if is_before else _R.received_at > place.at
    is_near = _R.received_at <= place.at if is_before else _R.received_at >= place.at  # what an index can begin with
    return sa.and_(is_near, sa.or_(is_later, is_beyond))


def listed_columns() -> list[sa.Column[Any]]:
    """The columns that `row_of` reads."""
    return [_R[name] for name in _COLUMNS]


def row_of(row: Mapping[Any, Any]) -> SeenRow:
    """The row with these columns."""
    return SeenRow(**{name: row[name] for name in _COLUMNS})


async def _read(database: Database, query: sa.Select[Any]) -> Sequence[sa.RowMapping]:
    async with database.reading() as connection:
        rows: Sequence[sa.RowMapping] = (await connection.execute(query)).mappings().all()
        return rows
