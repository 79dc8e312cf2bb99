"""The exported graphs of a registry, each kept once; `retention.graphs` removes them."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from inspector.domain import ExportedGraph
from inspector.errors import ArtifactError
from inspector.store import tables

_INSERT: Final[dict[str, Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


async def keys(connection: AsyncConnection) -> frozenset[str]:
    return frozenset((await connection.execute(sa.select(tables.graphs.c.key))).scalars())


async def read(connection: AsyncConnection, key: str) -> ExportedGraph | None:
    """The graph; None if there is none. Raises ArtifactError where its bytes do not have their digest."""
    row = (await connection.execute(sa.select(tables.graphs).where(tables.graphs.c.key == key))).one_or_none()
    if row is None:
        return None
    graph = ExportedGraph(row.key, bytes(row.content), row.described, row.exporter, row.versions)
    if await asyncio.to_thread(lambda: graph.sha256) != row.sha256:
        raise ArtifactError(
            f"The graph {key} in the registry is damaged; an agent or an enrolment on a machine with torch mends it."
        )
    return graph


async def add(connection: AsyncConnection, graph: ExportedGraph, now: datetime) -> None:
    """Store a graph, unless a whole one of its key is there. Several agents may do this at once."""
    try:
        if await read(connection, graph.key) is not None:
            return
    except ArtifactError:
        await connection.execute(sa.delete(tables.graphs).where(tables.graphs.c.key == graph.key))
    row = {
        "key": graph.key,
        "sha256": await asyncio.to_thread(lambda: graph.sha256),
        "size_bytes": len(graph.content),
        "described": dict(graph.described),
        "exporter": graph.exporter,
        "versions": dict(graph.versions),
        "created_at": now,
        "content": graph.content,
    }
    insert = _INSERT[connection.dialect.name](tables.graphs).values(**row)
    await connection.execute(insert.on_conflict_do_nothing())
