"""What was judged in a time, counted for a person who has to contain an escape. Reads only.

Counts come from the database in groups, so that a million rows need no memory. Simulated frames are left out. A row
without a known product counts beside those of the product: the part that escaped may be among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from inspector.domain import Cause, FrameFault, Outcome, Verdict
from inspector.errors import RowDamaged
from inspector.store import tables
from inspector.store.database import Database
from inspector.store.ledger.queries import without_index
from inspector.store.row_mapping import storable, verdict_from_row

NEAR_LEVEL: Final = 0.8
"""A pass from this level on is near the threshold: a small change of light or part would have made it a reject."""

_R: Final = tables.results.c


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Which results are in question; None means any. `until` is not included."""

    since: datetime
    until: datetime
    product: str | None = None
    version: int | None = None
    camera: str | None = None
    lot: str | None = None


@dataclass(frozen=True, slots=True)
class JudgedGroup:
    """Rows that are alike in all that is named here. `near`: passes from `NEAR_LEVEL` on.

    `fault`: of a row with the cause `frame_health`; None for others. `highest`: the highest level that passed; None
    where none did.
    """

    product: str | None
    version: int | None
    threshold: float | None
    lot: str | None
    camera: str
    outcome: Outcome
    cause: Cause
    fault: FrameFault | None
    rows: int
    near: int
    highest: float | None
    first_at: datetime
    last_at: datetime


async def judged_groups(database: Database, wanted: Suspicion) -> list[JudgedGroup]:
    """All rows in question, in groups. Raises RowDamaged for a row with an unknown word.

    Ask for an hour at a time: groups say nothing of when, except their first and last row.
    """
    passed = _R.outcome == Outcome.PASS.value
    keys = {
        "product": _R.product,
        "version": _R.product_version,
        "threshold": _R.threshold,
        "lot": _R.lot,
        "camera": _R.camera,
        "outcome": _R.outcome,
        "cause": _R.cause,
        "fault": fault_word(),
    }
    # Grouped by the labels: PostgreSQL would not recognise the expressions, whose parameters it counts apart.
    labels = [expression.label(name) for name, expression in keys.items()]
    query = sa.select(
        *labels,
        sa.func.count().label("rows"),
        sa.func.sum(sa.case((sa.and_(passed, _R.level >= NEAR_LEVEL), 1), else_=0)).label("near"),
        sa.func.max(sa.case((passed, _R.level))).label("highest"),
        sa.func.min(_R.received_at, type_=_R.received_at.type).label("first_at"),
        sa.func.max(_R.received_at, type_=_R.received_at.type).label("last_at"),
    ).where(*_in_question(wanted))
    async with database.reading() as connection:
        rows = (await connection.execute(query.group_by(*labels))).mappings().all()
    return [_group(row) for row in rows]


async def nearest_passes(database: Database, wanted: Suspicion, limit: int) -> list[Verdict]:
    """The passes with the highest levels, the highest first."""
    query = (
        sa.select(tables.results)
        .where(*_in_question(wanted), _R.outcome == Outcome.PASS.value, _R.level.is_not(None))
        .order_by(_R.level.desc(), _R.seq)
        .limit(limit)
    )
    async with database.reading() as connection:
        return [verdict_from_row(row) for row in (await connection.execute(query)).mappings()]


async def scored_in(database: Database, wanted: Suspicion) -> list[Verdict]:
    """All frames in question that passed or were rejected by their score, oldest first. Meant for a short time."""
    query = sa.select(tables.results).where(
        *_in_question(wanted),
        without_index(_R.cause, _R.cause.type).in_((Cause.OK.value, Cause.ANOMALY.value)),
        _R.level.is_not(None),
    )
    async with database.reading() as connection:
        rows = (await connection.execute(query.order_by(_R.received_at, _R.seq))).mappings().all()
    return [verdict_from_row(row) for row in rows]


def _in_question(wanted: Suspicion) -> list[sa.ColumnElement[bool]]:
    """Only the time is looked up in an index: SQLite would take an index of another column for better, and is wrong."""
    conditions = [_R.received_at >= wanted.since, _R.received_at < wanted.until, ~_R.simulated]
    if wanted.product is not None:
        product = without_index(_R.product, _R.product.type)
        conditions.append(sa.or_(product == storable(wanted.product), product.is_(None)))
    if wanted.version is not None:
        conditions.append(sa.or_(_R.product_version == wanted.version, _R.product_version.is_(None)))
    for name in ("camera", "lot"):
        value = getattr(wanted, name)
        if value is not None:
            conditions.append(without_index(_R[name], _R[name].type) == storable(value))
    return conditions


def fault_word() -> sa.ColumnElement[Any]:
    """The fault of a row with the cause `frame_health`; NULL for others."""
    is_health = _R.cause == Cause.FRAME_HEALTH.value
    words = [(sa.and_(is_health, _R.cause_detail.startswith(fault.value)), fault.value) for fault in FrameFault]
    return sa.case(*words, else_=sa.null())


def _group(row: Mapping[Any, Any]) -> JudgedGroup:
    try:
        return JudgedGroup(
            **{
                **row,
                "outcome": Outcome(row["outcome"]),
                "cause": Cause(row["cause"]),
                "fault": None if row["fault"] is None else FrameFault(row["fault"]),
            }
        )
    except ValueError as error:
        raise RowDamaged(
            f"A result holds a word that is none of ours ({error}); mend it there, or restore the database."
        ) from error
