"""Parts that a person should look at: rejects, near misses, and passes drawn by chance, none of them reviewed yet.

Only parts with a kept picture are of use here, since nobody reviews what nobody can see. Near misses and drawn passes
are looked for among the newest `LOOKED_AT` results, so that a large store answers as fast as a small one.
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
    newest = await newest_seq(database)
    query = (
        sa.select(*listed_columns())
        .where(_R.seq > newest - LOOKED_AT, ~_is_reviewed(), *_of(kind))
        .order_by(_R.seq.desc())
    )
    if product is not None:
        query = query.where(_R.product == product)
    if kind is not QueueKind.DRAWN_PASS:
        return [row_of(row) for row in await _read(database, query.limit(limit))]
    ids = sa.select(_R.seq, _R.result_id).where(_R.seq > newest - LOOKED_AT, *_of(kind)).order_by(_R.seq.desc())
    if product is not None:
        ids = ids.where(_R.product == product)
    drawn = [row["seq"] for row in await _read(database, ids) if is_sampled(ResultId(row["result_id"]), keep_passes)]
    return [row_of(row) for row in await _read(database, query.where(_R.seq.in_(drawn[: 4 * limit])).limit(limit))]


def _of(kind: QueueKind) -> list[sa.ColumnElement[bool]]:
    if kind is QueueKind.REJECT:
        return [_R.outcome == Outcome.REJECT.value]
    passed = _R.outcome == Outcome.PASS.value
    return [passed, _R.level >= NEAR_MISS_LEVEL] if kind is QueueKind.NEAR_MISS else [passed]


def _is_reviewed() -> sa.ColumnElement[bool]:
    counts = sa.select(reviews.c.id).where(reviews.c.result_id == _R.result_id, reviews.c.undone_at.is_(None))
    return counts.exists()


async def _read(database: Database, query: sa.Select[Any]) -> Sequence[sa.RowMapping]:
    async with database.reading() as connection:
        rows: Sequence[sa.RowMapping] = (await connection.execute(query)).mappings().all()
        return rows
