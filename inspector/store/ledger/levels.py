"""Levels of accepted parts, counted by product, version and camera. Reads only; the database does the counting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from inspector.domain import FrameFault, Outcome
from inspector.errors import RowDamaged
from inspector.store import tables
from inspector.store.database import Database
from inspector.store.ledger.containment import fault_word
from inspector.store.ledger.queries import without_index
from inspector.store.row_mapping import storable

_R: Final = tables.results.c
_BELOW: Final = 1000
"""No level is lower than this many bins below 0: SQLite cuts towards 0, and a bin is its lower limit."""


@dataclass(frozen=True, slots=True)
class LevelsWanted:
    """Selects rows by the time of receipt; None means any. `agent`: only those that this agent judged."""

    since: datetime
    until: datetime | None = None
    product: str | None = None
    agent: str | None = None


@dataclass(frozen=True, slots=True)
class LevelGroup:
    """Rows that are alike. `bin`: floor(level * bins) of parts that passed, at the threshold that they were judged by.

    `threshold` and `bin` are None for rows that did not pass; `fault`: why a frame was not judged.
    """

    product: str
    version: int
    camera: str
    outcome: Outcome
    fault: FrameFault | None
    threshold: float | None
    bin: int | None
    rows: int


async def level_groups(database: Database, wanted: LevelsWanted, bins: int) -> list[LevelGroup]:
    """All rows of known products in groups, without simulated ones. Raises RowDamaged for an unknown word."""
    passed = _R.outcome == Outcome.PASS.value
    scaled = sa.case((passed, _R.level * bins))
    floor: sa.ColumnElement[Any] = (
        sa.cast(scaled + _BELOW, sa.Integer) - _BELOW
        if database.is_sqlite
        else sa.cast(sa.func.floor(scaled), sa.Integer)
    )
    labels = [
        _R.product.label("product"),
        _R.product_version.label("version"),
        _R.camera.label("camera"),
        _R.outcome.label("outcome"),
        fault_word().label("fault"),
        sa.case((passed, _R.threshold)).label("threshold"),
        floor.label("bin"),
    ]
    conditions = [_R.received_at >= wanted.since, ~_R.simulated, _R.product_version.is_not(None)]
    if wanted.until is not None:
        conditions.append(_R.received_at < wanted.until)
    for name in ("product", "agent"):
        value = getattr(wanted, name)
        if value is not None:
            conditions.append(without_index(_R[name], _R[name].type) == storable(value))
    query = sa.select(*labels, sa.func.count().label("rows")).where(*conditions).group_by(*labels)
    async with database.reading() as connection:
        return [_group(row) for row in (await connection.execute(query)).mappings()]


def _group(row: Mapping[Any, Any]) -> LevelGroup:
    try:
        fault = None if row["fault"] is None else FrameFault(row["fault"])
        return LevelGroup(**{**row, "outcome": Outcome(row["outcome"]), "fault": fault})
    except ValueError as error:
        raise RowDamaged(
            f"A result holds a word that is none of ours ({error}); mend it there, or restore the database."
        ) from error
