"""Queries over results, for people. The road does not use them.

Results are returned as verdicts. Lists are newest first and bounded. `each_result` reads any number of rows,
oldest first, in short transactions, so that it never holds up a writer. The row of a missed part that a frame corrected
counts no longer: it is in no count and not among the uninspected, but a list without that filter still shows it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from inspector.domain import Cause, LateOutcome, Outcome, Verdict
from inspector.store import tables
from inspector.store.database import Database
from inspector.store.row_mapping import storable, verdict_from_row

_PAGE_ROWS = 500
_RESULTS = tables.results.c
_EQUAL = (
    "product",
    "product_version",
    "outcome",
    "cause",
    "camera",
    "gate",
    "part_id",
    "lot",
    "simulated",
    "late_outcome",
)


@dataclass(frozen=True, slots=True)
class ResultFilter:
    """Selects results; None means any. `since` and `until` refer to `received_at`, `until` not included."""

    product: str | None = None
    product_version: int | None = None
    outcome: Outcome | None = None
    cause: Cause | None = None
    camera: str | None = None
    gate: str | None = None
    part_id: str | None = None
    lot: str | None = None
    simulated: bool | None = None
    late_outcome: LateOutcome | None = None
    since: datetime | None = None
    until: datetime | None = None


ANY = ResultFilter()


async def list_results(database: Database, wanted: ResultFilter = ANY, *, limit: int = 50) -> list[Verdict]:
    """The newest `limit` results, newest first."""
    query = sa.select(tables.results).where(*_conditions(wanted)).order_by(_RESULTS.seq.desc()).limit(limit)
    return [verdict_from_row(row) for row in await _rows(database, query)]


async def each_result(database: Database, wanted: ResultFilter = ANY) -> AsyncIterator[Verdict]:
    """All results in the order of recording. Results that are recorded meanwhile come at the end."""
    after = 0
    # Walked in the order of the key: another index would have to sort everything it finds again for each page.
    conditions = _conditions(wanted, is_walked=True)
    while True:
        query = sa.select(tables.results).where(_RESULTS.seq > after, *conditions)
        page = await _rows(database, query.order_by(_RESULTS.seq).limit(_PAGE_ROWS))
        for row in page:
            yield verdict_from_row(row)
        if len(page) < _PAGE_ROWS:
            return
        after = page[-1]["seq"]


async def get_result(database: Database, result_id: str) -> Verdict | None:
    """The result with this id, or None."""
    rows = await _rows(database, sa.select(tables.results).where(_RESULTS.result_id == storable(result_id)))
    return verdict_from_row(rows[0]) if rows else None


async def find_results(database: Database, start: str, *, limit: int = 10) -> list[Verdict]:
    """Results whose id begins with `start`, for people who type only its first characters."""
    query = (
        sa.select(tables.results).where(_RESULTS.result_id.startswith(storable(start), autoescape=True)).limit(limit)
    )
    return [verdict_from_row(row) for row in await _rows(database, query)]


# Reserved for metrics: the three counts.
async def count_by_outcome(database: Database, wanted: ResultFilter = ANY) -> dict[Outcome, int]:
    """Results per outcome; every outcome is there."""
    counts = await _count_by(database, "outcome", wanted)
    return {outcome: counts.get(outcome.value, 0) for outcome in Outcome}


async def count_by_cause(database: Database, wanted: ResultFilter = ANY) -> dict[Cause, int]:
    """Results per cause; causes without any result are left out."""
    return {Cause(cause): count for cause, count in (await _count_by(database, "cause", wanted)).items()}


async def count_by_product(database: Database, wanted: ResultFilter = ANY) -> dict[str | None, int]:
    """Results per product; the key None counts results without a known product."""
    return await _count_by(database, "product", wanted)


def _conditions(wanted: ResultFilter, *, is_walked: bool = False) -> list[sa.ColumnElement[bool]]:
    """`is_walked`: the rows are read in the order of the key, so that no index of these columns shall be used."""
    column = without_index if is_walked else sa.type_coerce
    conditions: list[sa.ColumnElement[bool]] = []
    for name in _EQUAL:
        value = getattr(wanted, name)
        if value is not None:
            conditions.append(column(_RESULTS[name], _RESULTS[name].type) == storable(value))
    received_at = column(_RESULTS.received_at, _RESULTS.received_at.type)
    if wanted.outcome is Outcome.UNINSPECTED:
        conditions.append(_RESULTS.corrected_by.is_(None))
    if wanted.since is not None:
        conditions.append(received_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(received_at < wanted.until)
    return conditions


def without_index(column: sa.ColumnElement[Any], kind: sa.types.TypeEngine[Any]) -> sa.ColumnElement[Any]:
    """The column as an expression that has its values and that no index serves."""
    return sa.func.coalesce(column, sa.null(), type_=kind)


async def _count_by(database: Database, column: str, wanted: ResultFilter) -> dict[Any, int]:
    by = _RESULTS[column]
    conditions = [*_conditions(wanted), _RESULTS.corrected_by.is_(None)]
    query = sa.select(by, sa.func.count().label("rows")).where(*conditions).group_by(by).order_by(by)
    return {row[column]: row["rows"] for row in await _rows(database, query)}


async def _rows(database: Database, query: sa.Select[Any]) -> Sequence[sa.RowMapping]:
    async with database.reading() as connection:
        rows: Sequence[sa.RowMapping] = (await connection.execute(query)).mappings().all()
        return rows
