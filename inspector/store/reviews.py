"""What people said of results. Reviews are only added; one that was undone stays and counts no longer.

Of each result the newest review counts that was not undone. Adding and undoing are audited. No rule removes reviews, so
one may be older than the row of its result, which is gone then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from inspector.domain import ResultId, Review, ReviewLabel, Verdict, label_of
from inspector.errors import UsageError
from inspector.ports import Clock
from inspector.store import audit
from inspector.store.database import Database
from inspector.store.row_mapping import storable, verdict_from_row
from inspector.store.tables import results, reviews

_PAGE_ROWS: Final = 500


@dataclass(frozen=True, slots=True)
class ReviewFilter:
    """Selects reviews; None means any. `since` and `until` refer to the time of the review, `until` not included.

    `counting`: only reviews that count, one for each result at most.
    """

    product: str | None = None
    label: ReviewLabel | None = None
    by: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    counting: bool = True


@dataclass(frozen=True, slots=True)
class ReviewedResult:
    """A review with the row of its result; `verdict` is None if that row was pruned."""

    review: Review
    verdict: Verdict | None


async def add(database: Database, clock: Clock, review: Review) -> Review:
    """Store a review at the present time, and return it with its number. Raises UsageError for an unknown result."""
    now = clock.now()
    row = {
        "at": now,
        "user_name": storable(review.by),
        "result_id": storable(review.result_id),
        "label": review.label.value,
        "comment": storable(review.note),
        "kind": storable(review.kind),
        "is_blind": review.is_blind,
    }
    async with database.writing() as connection:
        await audit.hold_lock(connection)
        if not await _has_result(connection, review.result_id):
            raise UsageError(f"There is no result {review.result_id}; `inspector results list --json` shows whole ids.")
        before = await _counting(connection, review.result_id)
        number = (await connection.execute(reviews.insert().values(**row))).inserted_primary_key[0]  # type: ignore[index]  # one row, one key
        change = audit.Change(review.by, _object(review.result_id), _said(before), _said(review), review.note)
        await audit.append(connection, now, change)
    return replace(review, number=number, at=now)


async def undo(database: Database, clock: Clock, result_id: str, *, by: str, reason: str) -> Review:
    """Undo the review that counts; the one before it counts again. Raises UsageError where none counts."""
    now = clock.now()
    async with database.writing() as connection:
        await audit.hold_lock(connection)
        undone = await _counting(connection, result_id)
        if undone is None:
            raise UsageError(f"There is no review of result {result_id} that could be undone.")
        marked = reviews.update().where(reviews.c.id == undone.number)
        await connection.execute(marked.values(undone_at=now, undone_by=storable(by)))
        after = await _counting(connection, result_id)
        await audit.append(connection, now, audit.Change(by, _object(result_id), _said(undone), _said(after), reason))
    return replace(undone, undone_at=now, undone_by=by)


async def of_result(database: Database, result_id: str) -> list[Review]:
    """Every review of a result, oldest first, with those that were undone."""
    query = sa.select(reviews).where(reviews.c.result_id == storable(result_id)).order_by(reviews.c.id)
    async with database.reading() as connection:
        return [_review(row) for row in (await connection.execute(query)).mappings()]


async def counting_of(database: Database, result_ids: Sequence[str]) -> dict[str, Review]:
    """The review that counts of each of these results, by result id. Results without one are left out."""
    found: dict[str, Review] = {}
    async with database.reading() as connection:
        for start in range(0, len(result_ids), _PAGE_ROWS):
            ids = [storable(result_id) for result_id in result_ids[start : start + _PAGE_ROWS]]
            query = sa.select(reviews).where(reviews.c.result_id.in_(ids), reviews.c.undone_at.is_(None))
            for row in (await connection.execute(query.order_by(reviews.c.id))).mappings():
                found[row["result_id"]] = _review(row)
    return found


async def listed(
    database: Database, wanted: ReviewFilter, *, limit: int, before: int | None = None
) -> list[ReviewedResult]:
    """The newest `limit` reviews, newest first. `before`: only those with a smaller number, for the next page."""
    columns = [*results.c, *(reviews.c[name].label(f"review_{name}") for name in reviews.c.keys())]  # noqa: SIM118 - a collection of columns is no mapping
    joined = reviews.outerjoin(results, results.c.result_id == reviews.c.result_id)
    query = sa.select(*columns).select_from(joined).where(*_conditions(wanted))
    if before is not None:
        query = query.where(reviews.c.id < before)
    async with database.reading() as connection:
        rows = (await connection.execute(query.order_by(reviews.c.id.desc()).limit(limit))).mappings().all()
    return [_reviewed(row) for row in rows]


async def all_counting(database: Database, product: str, label: ReviewLabel) -> list[ReviewedResult]:
    """Every result of the product that people call so, by the review that counts, newest review first."""
    found: list[ReviewedResult] = []
    wanted = ReviewFilter(product=product, label=label)
    while True:
        before = found[-1].review.number if found else None
        page = await listed(database, wanted, limit=_PAGE_ROWS, before=before)
        found += page
        if len(page) < _PAGE_ROWS:
            return found


async def known_kinds(database: Database, *, limit: int = 50) -> list[str]:
    """Kinds that people have named, the most frequent first."""
    query = (
        sa.select(reviews.c.kind)
        .where(reviews.c.kind.is_not(None), reviews.c.undone_at.is_(None))
        .group_by(reviews.c.kind)
        .order_by(sa.func.count().desc(), reviews.c.kind)
        .limit(limit)
    )
    async with database.reading() as connection:
        return list((await connection.execute(query)).scalars())


def counts() -> sa.ColumnElement[bool]:
    """True for the rows of `reviews` that count: the newest of each result that was not undone."""
    newest = sa.select(sa.func.max(reviews.c.id)).where(reviews.c.undone_at.is_(None)).group_by(reviews.c.result_id)
    return reviews.c.id.in_(newest)


def _conditions(wanted: ReviewFilter) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = [counts()] if wanted.counting else []
    if wanted.product is not None:
        conditions.append(results.c.product == storable(wanted.product))
    if wanted.label is not None:
        conditions.append(reviews.c.label == wanted.label.value)
    if wanted.by is not None:
        conditions.append(reviews.c.user_name == storable(wanted.by))
    if wanted.since is not None:
        conditions.append(reviews.c.at >= wanted.since)
    if wanted.until is not None:
        conditions.append(reviews.c.at < wanted.until)
    return conditions


async def _has_result(connection: AsyncConnection, result_id: str) -> bool:
    query = sa.select(results.c.seq).where(results.c.result_id == storable(result_id)).limit(1)
    return (await connection.execute(query)).first() is not None


async def _counting(connection: AsyncConnection, result_id: str) -> Review | None:
    query = sa.select(reviews).where(reviews.c.result_id == storable(result_id), reviews.c.undone_at.is_(None))
    row = (await connection.execute(query.order_by(reviews.c.id.desc()).limit(1))).mappings().first()
    return None if row is None else _review(row)


def _object(result_id: str) -> str:
    return f"result/{result_id}/review"


def _said(review: Review | None) -> str | None:
    if review is None:
        return None
    return review.label.value if review.kind is None else f"{review.label.value}, {review.kind}"


def _reviewed(row: Mapping[Any, Any]) -> ReviewedResult:
    own = {name: row[f"review_{name}"] for name in reviews.c.keys()}  # noqa: SIM118 - a collection of columns is no mapping
    return ReviewedResult(_review(own), None if row["seq"] is None else verdict_from_row(row))


def _review(row: Mapping[Any, Any]) -> Review:
    return Review(
        result_id=ResultId(row["result_id"]),
        label=label_of(row["label"]),
        by=row["user_name"],
        at=row["at"],
        kind=row["kind"],
        note=row["comment"],
        is_blind=row["is_blind"],
        number=row["id"],
        undone_at=row["undone_at"],
        undone_by=row["undone_by"],
    )
