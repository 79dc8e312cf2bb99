"""The exported graphs of a registry, each kept once; `retention.graphs` removes them.

The first graph of a key stands under the key. One of another content, which a version is bound to, stands beside it
under its name with the SHA-256.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from inspector.domain import ExportedGraph, content_name, key_in
from inspector.errors import ArtifactError
from inspector.store import tables
from inspector.store.inserts import insert_into


async def names(connection: AsyncConnection) -> frozenset[str]:
    rows = (await connection.execute(sa.select(tables.graphs.c.key, tables.graphs.c.sha256))).all()
    return frozenset(name for row in rows for name in (row.key, content_name(key_in(row.key)[0], row.sha256)))


async def read(connection: AsyncConnection, name: str) -> ExportedGraph | None:
    """The graph; None if there is none. Raises ArtifactError where its bytes do not have their digest."""
    key, sha256 = key_in(name)
    table = tables.graphs.c
    columns = [each for each in table if each.name != "content"]
    asked = sa.select(*columns, tables.as_bytes(table.content).label("content"))
    asked = asked.where(table.key.in_((name, key))).order_by(table.key.desc())  # the name is longer
    if sha256:
        asked = asked.where(table.sha256 == sha256)
    row = (await connection.execute(asked)).first()
    if row is None:
        return None
    graph = ExportedGraph(key, bytes(row.content), row.described, row.exporter, row.versions)
    if await asyncio.to_thread(lambda: graph.sha256) != row.sha256:
        raise ArtifactError(
            f"The graph {key} in the registry is damaged; an agent or an enrolment on a machine with torch mends it."
        )
    return graph


async def add(connection: AsyncConnection, graph: ExportedGraph, now: datetime, *, is_apart: bool = False) -> None:
    """Store a graph, unless this one is there whole. Several agents may do this at once.

    `is_apart`: only for versions that are bound to it, so never under the key alone.
    """
    sha256 = await asyncio.to_thread(lambda: graph.sha256)
    name = content_name(graph.key, sha256)
    for stored in (name,) if is_apart else (graph.key, name):
        try:
            found = await read(connection, stored)
        except ArtifactError:
            await connection.execute(sa.delete(tables.graphs).where(tables.graphs.c.key == stored))
            found = None
        if found is None:
            name = stored
            break
        if found.content == graph.content:
            return
    row = {
        "key": name,
        "sha256": sha256,
        "size_bytes": len(graph.content),
        "described": dict(graph.described),
        "exporter": graph.exporter,
        "versions": dict(graph.versions),
        "created_at": now,
        "content": graph.content,
    }
    insert = insert_into(tables.graphs, connection.dialect.name).values(**row)
    await connection.execute(insert.on_conflict_do_nothing())
