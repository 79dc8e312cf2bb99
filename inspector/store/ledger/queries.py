"""Reads for people: what was decided, and what happened. Never on the road.

Everything comes back as domain types. Lists are newest first and bounded; `each_result` walks any number
of rows, oldest first, in short transactions of their own, so that it never holds up a writer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from inspector.domain import (
    Action,
    Cause,
    CommandName,
    CommandRecord,
    Event,
    GateAction,
    Outcome,
    ResultId,
    Severity,
    Verdict,
)
from inspector.store import tables
from inspector.store.database import Database
from inspector.store.records import Conflict, StoredDecision
from inspector.store.rows import storable, verdict_from_row

_PAGE_ROWS = 500
_RESULTS = tables.results.c


@dataclass(frozen=True, slots=True)
class ResultFilter:
    """Which results are wanted; None means any. `since` and `until` are over `received_at`, `until` not included."""

    product: str | None = None
    outcome: Outcome | None = None
    cause: Cause | None = None
    camera: str | None = None
    gate: str | None = None
    part_id: str | None = None
    lot: str | None = None
    simulated: bool | None = None
    since: datetime | None = None
    until: datetime | None = None


ANY = ResultFilter()


async def list_results(database: Database, wanted: ResultFilter = ANY, *, limit: int = 50) -> list[Verdict]:
    """The newest `limit` results, newest first."""
    query = sa.select(tables.results).where(*_conditions(wanted)).order_by(_RESULTS.seq.desc()).limit(limit)
    return [verdict_from_row(row) for row in await _rows(database, query)]


async def each_result(database: Database, wanted: ResultFilter = ANY) -> AsyncIterator[Verdict]:
    """All results in the order of recording; those recorded meanwhile come last."""
    after = 0
    while True:
        query = sa.select(tables.results).where(_RESULTS.seq > after, *_conditions(wanted))
        page = await _rows(database, query.order_by(_RESULTS.seq).limit(_PAGE_ROWS))
        for row in page:
            yield verdict_from_row(row)
        if len(page) < _PAGE_ROWS:
            return
        after = page[-1]["seq"]


async def get_result(database: Database, result_id: str) -> Verdict | None:
    """The result of that id, or None."""
    rows = await _rows(database, sa.select(tables.results).where(_RESULTS.result_id == storable(result_id)))
    return verdict_from_row(rows[0]) if rows else None


async def find_results(database: Database, start: str, *, limit: int = 10) -> list[Verdict]:
    """The results whose id starts so, for people who type only its first characters."""
    query = (
        sa.select(tables.results).where(_RESULTS.result_id.startswith(storable(start), autoescape=True)).limit(limit)
    )
    return [verdict_from_row(row) for row in await _rows(database, query)]


async def count_results(database: Database, wanted: ResultFilter = ANY) -> int:
    """How many results there are."""
    query = sa.select(sa.func.count().label("rows")).select_from(tables.results).where(*_conditions(wanted))
    return int((await _rows(database, query))[0]["rows"])


async def count_by_outcome(database: Database, wanted: ResultFilter = ANY) -> dict[Outcome, int]:
    """Results per outcome; every outcome is there."""
    found = await _count_by(database, "outcome", wanted)
    return {outcome: found.get(outcome.value, 0) for outcome in Outcome}


async def count_by_cause(database: Database, wanted: ResultFilter = ANY) -> dict[Cause, int]:
    """Results per cause; causes that never came are left out."""
    return {Cause(cause): count for cause, count in (await _count_by(database, "cause", wanted)).items()}


async def count_by_product(database: Database, wanted: ResultFilter = ANY) -> dict[str | None, int]:
    """Results per product; None counts those of no known product."""
    return await _count_by(database, "product", wanted)


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


async def list_gate_actions(database: Database, gate: str | None = None, *, limit: int = 100) -> list[GateAction]:
    """The newest `limit` reports of a gate's PLC (or of all), newest first."""
    query = sa.select(tables.gate_actions).order_by(tables.gate_actions.c.id.desc()).limit(limit)
    if gate is not None:
        query = query.where(tables.gate_actions.c.gate == gate)
    return [
        GateAction(
            gate=row["gate"],
            epoch=row["epoch"],
            trigger_id=row["trigger_id"],
            action=row["action"],
            source=row["source"],
            done=row["done"],
            received_at=row["received_at"],
        )
        for row in await _rows(database, query)
    ]


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


async def list_conflicts(database: Database, *, limit: int = 100) -> list[Conflict]:
    """The newest `limit` verdicts that were refused because a row said otherwise, newest first."""
    query = sa.select(tables.conflicts).order_by(tables.conflicts.c.id.desc()).limit(limit)
    return [
        Conflict(ResultId(row["result_id"]), Outcome(row["stored_outcome"]), Outcome(row["refused_outcome"]))
        for row in await _rows(database, query)
    ]


def _conditions(wanted: ResultFilter) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    for name in ("product", "outcome", "cause", "camera", "gate", "part_id", "lot", "simulated"):
        value = getattr(wanted, name)
        if value is not None:
            conditions.append(_RESULTS[name] == storable(value))
    if wanted.since is not None:
        conditions.append(_RESULTS.received_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(_RESULTS.received_at < wanted.until)
    return conditions


async def _count_by(database: Database, column: str, wanted: ResultFilter) -> dict[Any, int]:
    by = _RESULTS[column]
    query = sa.select(by, sa.func.count().label("rows")).where(*_conditions(wanted)).group_by(by).order_by(by)
    return {row[column]: row["rows"] for row in await _rows(database, query)}


async def _rows(database: Database, query: sa.Select[Any]) -> Sequence[sa.RowMapping]:
    async with database.reading() as connection:
        rows: Sequence[sa.RowMapping] = (await connection.execute(query)).mappings().all()
        return rows
