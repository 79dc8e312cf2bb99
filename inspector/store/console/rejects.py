"""Where on the parts of a product rejects were seen, for a picture of a shift."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from inspector.domain import Outcome, Region
from inspector.store.database import Database
from inspector.store.tables import results
from inspector.stream.verdict_record import regions_from_record

_R: Final = results.c


@dataclass(frozen=True, slots=True)
class RejectedPart:
    """A reject with its regions."""

    result_id: str
    camera: str
    product: str | None
    decided_at: datetime
    regions: tuple[Region, ...]


async def newest_rejects(database: Database, since: datetime, until: datetime, limit: int) -> list[RejectedPart]:
    """The newest `limit` rejects received from `since` until `until`, newest first."""
    query = (
        sa.select(_R.result_id, _R.camera, _R.product, _R.decided_at, _R.regions)
        .where(_R.outcome == Outcome.REJECT.value, _R.received_at >= since, _R.received_at < until, ~_R.simulated)
        .order_by(_R.received_at.desc())
        .limit(limit)
    )
    async with database.reading() as connection:
        rows = (await connection.execute(query)).mappings().all()
    return [
        RejectedPart(
            row["result_id"],
            row["camera"],
            row["product"],
            row["decided_at"],
            tuple(regions_from_record(row["regions"])),
        )
        for row in rows
    ]
