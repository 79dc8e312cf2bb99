"""Parts that a person should look at: rejects, near misses, and passes drawn by chance, none of them reviewed yet.

Only parts with a kept picture are of use here, since nobody reviews what nobody can see. They are looked for
among the newest results alone, so that a large store answers as fast as a small one.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from inspector.domain import Outcome, ResultId
from inspector.store.console.rows import SeenRow, listed_columns, newest_seq, row_of
from inspector.store.database import Database
from inspector.store.pictures.images import NEAR_MISS_LEVEL, is_sampled
from inspector.store.tables import results, reviews

LOOKED_AT: Final = 20_000
DRAWN_FROM: Final = 8_000
"""Passes are drawn among fewer results, since each of them is looked at here and not in the database."""

_R: Final = results.c


class QueueKind(enum.StrEnum):
    """Why a part is in the queue."""

    REJECT = "reject"
    NEAR_MISS = "near_miss"
    DRAWN_PASS = "drawn_pass"


async def waiting(
    database: Database, kind: QueueKind, *, keep_passes: float, limit: int, product: str | None = None
) -> list[SeenRow]:
    """The newest `limit` parts of this kind that nobody has reviewed. `keep_passes`: as in the configuration."""
    is_drawn = kind is QueueKind.DRAWN_PASS
    of = _newest(await newest_seq(database), DRAWN_FROM if is_drawn else LOOKED_AT)
    conditions = _conditions(kind, of)
    if product is not None:
        conditions.append(of.c.product == product)
    candidates = sa.select(of.c.seq, of.c.result_id).where(*conditions).order_by(of.c.seq.desc())
    if not is_drawn:
        candidates = candidates.where(~_is_reviewed(of.c.result_id)).limit(limit)
    found = await _read(database, candidates)
    if is_drawn:
        found = [row for row in found if is_sampled(ResultId(row["result_id"]), keep_passes)]
    numbers = [row["seq"] for row in found]
    query = sa.select(*listed_columns()).where(_R.seq.in_(numbers), ~_is_reviewed(_R.result_id))
    query = query.order_by(_R.seq.desc()).limit(limit)
    return [row_of(row) for row in await _read(database, query)] if numbers else []


def _newest(newest: int, count: int) -> sa.Subquery:
    """The newest results alone. The limit keeps the database from looking through an index of all outcomes instead."""
    columns = (_R.seq, _R.result_id, _R.outcome, _R.level, _R.product)
    query = sa.select(*columns).where(_R.seq > newest - count).order_by(_R.seq.desc()).limit(count)
    return query.subquery("newest")


def _conditions(kind: QueueKind, of: sa.Subquery) -> list[sa.ColumnElement[bool]]:
    if kind is QueueKind.REJECT:
        return [of.c.outcome == Outcome.REJECT.value]
    passed = of.c.outcome == Outcome.PASS.value
    return [passed, of.c.level >= NEAR_MISS_LEVEL] if kind is QueueKind.NEAR_MISS else [passed]


def _is_reviewed(result_id: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    counts = sa.select(reviews.c.id).where(reviews.c.result_id == result_id, reviews.c.undone_at.is_(None))
    return counts.exists()


async def _read(database: Database, query: sa.Select[Any]) -> Sequence[sa.RowMapping]:
    async with database.reading() as connection:
        rows: Sequence[sa.RowMapping] = (await connection.execute(query)).mappings().all()
        return rows
