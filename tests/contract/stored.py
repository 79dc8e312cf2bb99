"""Everything that a ledger has stored, read back from its tables: what tests compare with what was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from inspector.domain import (
    Action,
    CommandName,
    CommandRecord,
    Event,
    Outcome,
    ResultId,
    Severity,
    ShadowResult,
)
from inspector.store import tables
from inspector.store.database import Database
from inspector.store.ledger import queries
from inspector.store.ledger.acks import ack_row
from inspector.store.stored_records import Conflict, StoredDecision
from inspector.stream.ack_merging import AckRow


async def list_events(database: Database, *, since: datetime | None = None, limit: int = 100) -> list[Event]:
    """The newest `limit` events, newest first."""
    query = sa.select(tables.events).order_by(tables.events.c.id.desc()).limit(limit)
    if since is not None:
        query = query.where(tables.events.c.at >= since)
    return [
        Event(row["at"], row["kind"], Severity(row["severity"]), row["subject"], row["detail"])
        for row in await _rows(database, query)
    ]


async def list_decisions(database: Database, gate: str | None = None, *, limit: int = 100) -> list[StoredDecision]:
    """The newest `limit` parts of a gate (or of all) with what was decided, newest first."""
    query = sa.select(tables.decisions).order_by(tables.decisions.c.id.desc()).limit(limit)
    if gate is not None:
        query = query.where(tables.decisions.c.gate == gate)
    return [
        StoredDecision(
            gate=row["gate"],
            epoch=row["epoch"],
            lap=row["lap"],
            trigger_id=row["trigger_id"],
            action=Action(row["action"]),
            result_id=ResultId(row["result_id"]),
            sent=row["sent"],
        )
        for row in await _rows(database, query)
    ]


async def list_acks(database: Database, gate: str | None = None, *, limit: int = 100) -> list[AckRow]:
    """The newest `limit` reports of a gate's PLC (or of all), newest first."""
    query = sa.select(tables.gate_actions).order_by(tables.gate_actions.c.id.desc()).limit(limit)
    if gate is not None:
        query = query.where(tables.gate_actions.c.gate == gate)
    return [ack_row(row) for row in await _rows(database, query)]


async def list_commands(database: Database, *, limit: int = 100) -> list[CommandRecord]:
    """The newest `limit` commands, newest first; what each changed stands in the audit."""
    query = sa.select(tables.commands).order_by(tables.commands.c.id.desc()).limit(limit)
    return [
        CommandRecord(
            cmd_id=row["cmd_id"],
            name=CommandName(row["name"]),
            agent=row["agent"],
            by=row["by_name"],
            reason=row["reason"],
            sent_at=row["sent_at"],
            received_at=row["received_at"],
            is_obeyed=row["is_obeyed"],
            detail=row["detail"],
        )
        for row in await _rows(database, query)
    ]


async def list_shadow_results(database: Database) -> list[ShadowResult]:
    """All results of shadow versions, oldest first."""
    rows = await _rows(database, sa.select(tables.shadow_results).order_by(tables.shadow_results.c.id))
    return [
        ShadowResult(**{name: row[name] for name in row if name != "id"} | {"outcome": Outcome(row["outcome"])})
        for row in rows
    ]


async def list_conflicts(database: Database, *, limit: int = 100) -> list[Conflict]:
    """The newest `limit` verdicts that were refused because a row said otherwise, newest first."""
    query = sa.select(tables.conflicts).order_by(tables.conflicts.c.id.desc()).limit(limit)
    return [
        Conflict(ResultId(row["result_id"]), Outcome(row["stored_outcome"]), Outcome(row["refused_outcome"]))
        for row in await _rows(database, query)
    ]


async def count_results(database: Database, wanted: queries.ResultFilter = queries.ANY) -> int:
    """How many results there are."""
    return sum((await queries.count_by_outcome(database, wanted)).values())


async def _rows(database: Database, query: sa.Select[Any]) -> Sequence[sa.RowMapping]:
    async with database.reading() as connection:
        rows: Sequence[sa.RowMapping] = (await connection.execute(query)).mappings().all()
        return rows
