"""Removes exported graphs that nothing needs any more; they can be exported again.

A graph goes where no version names its pass, or where a newer export of the same pass is there. Both only after
`KEPT_DAYS`, because an agent of an earlier software may still ask for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from inspector.ports import Clock
from inspector.store import tables
from inspector.store.database import Database
from inspector.store.retention.retention import Pruned

KEPT_DAYS: Final = 30


async def prune_graphs(
    database: Database, clock: Clock, always: Sequence[Mapping[str, Any]], *, dry_run: bool = False
) -> list[Pruned]:
    """Remove what is not needed; nothing is listed where nothing goes. `always`: passes that no version names."""
    before = clock.now() - timedelta(days=KEPT_DAYS)
    table, manifests = tables.graphs.c, tables.product_versions.c.manifest
    async with database.reading() if dry_run else database.writing() as connection:
        named = (await connection.execute(sa.select(manifests["graph"]).distinct())).scalars()
        needed = {_canonical(each) for each in (*named, *always)}
        kept = (await connection.execute(sa.select(table.key, table.described, table.exporter, table.created_at))).all()
        newest: dict[str, int] = {}
        for row in kept:
            described = _canonical(row.described)
            newest[described] = max(row.exporter, newest.get(described, 0))
        leaving = [
            row.key
            for row in kept
            if row.created_at < before
            and (_canonical(row.described) not in needed or row.exporter < newest[_canonical(row.described)])
        ]
        if leaving and not dry_run:
            await connection.execute(sa.delete(tables.graphs).where(table.key.in_(leaving)))
    return [Pruned("graphs", before, len(leaving), 0)] if leaving else []


def _canonical(described: Any) -> str:
    return json.dumps(described, sort_keys=True)
