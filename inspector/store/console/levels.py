"""Scores of a version's newest parts, for what its threshold does and what another one would do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from inspector.domain import Cause, Outcome
from inspector.store.database import Database
from inspector.store.row_mapping import storable
from inspector.store.tables import results

LOOKED_AT: Final = 20_000
"""Parts of a version are looked for among so many of its product, so that a version without any is found out soon."""

_R: Final = results.c
_JUDGED: Final = (Cause.OK.value, Cause.ANOMALY.value)


@dataclass(frozen=True, slots=True)
class ScoredPart:
    """A part that a version judged by its score."""

    result_id: str
    score: float
    is_reject: bool
    received_at: datetime


async def newest_scores(database: Database, product: str, version: int, limit: int) -> list[ScoredPart]:
    """The newest `limit` parts that this version passed or rejected by their scores, newest first."""
    newest = (
        sa.select(_R.seq, _R.received_at)
        .where(_R.product == storable(product))
        .order_by(_R.received_at.desc())
        .limit(LOOKED_AT)
        .subquery("newest")
    )
    query = (
        sa.select(_R.result_id, _R.score, _R.outcome, _R.received_at)
        .select_from(newest.join(results, _R.seq == newest.c.seq))
        .where(_R.product_version == version, _R.score.is_not(None), _R.cause.in_(_JUDGED), ~_R.simulated)
        .order_by(newest.c.received_at.desc())
        .limit(limit)
    )
    async with database.reading() as connection:
        rows = (await connection.execute(query)).mappings().all()
    return [
        ScoredPart(row["result_id"], row["score"], row["outcome"] == Outcome.REJECT.value, row["received_at"])
        for row in rows
    ]
