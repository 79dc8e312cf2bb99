"""Numbers the inspections of a part: 1 for the first, and one more whenever the part comes again.

A station is a gate, or a camera without a gate. Each station counts on its own, and simulated parts have a
count of their own. All views of one trigger are one inspection. First-pass yield counts number 1 only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from inspector.store.tables import results

Part = tuple[str, str, bool]
Trigger = tuple[int, int, int]
_PARTS_PER_QUERY = 500


def numbered(connection: sa.Connection, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Set `inspection_no` in rows with a part id and no number yet. Call in the transaction of the insert."""
    part_ids = sorted({row["part_id"] for row in rows if _wants_number(row)})
    if not part_ids:
        return rows
    count = _Count()
    for start in range(0, len(part_ids), _PARTS_PER_QUERY):
        for earlier in _inspections(connection, part_ids[start : start + _PARTS_PER_QUERY]):
            count.add(earlier)
    for row in rows:
        if _wants_number(row):
            row["inspection_no"] = count.number_of(row)
            count.add(row)
    return rows


class _Count:
    """Inspections of the parts of one batch, in earlier rows and in the batch itself."""

    def __init__(self) -> None:
        self._highest: dict[Part, int] = {}
        self._by_trigger: dict[tuple[Part, Trigger], int] = {}
        self._by_result: dict[str, int] = {}

    def number_of(self, row: Mapping[Any, Any]) -> int:
        if (again := self._by_result.get(row["result_id"])) is not None:
            return again
        part, trigger = _part(row), _trigger(row)
        if trigger is not None and (same := self._by_trigger.get((part, trigger))) is not None:
            return same
        return self._highest.get(part, 0) + 1

    def add(self, row: Mapping[Any, Any]) -> None:
        number, part, trigger = row["inspection_no"] or 0, _part(row), _trigger(row)
        self._by_result[row["result_id"]] = number
        self._highest[part] = max(number, self._highest.get(part, 0))
        if trigger is not None:
            self._by_trigger[part, trigger] = number


def _wants_number(row: Mapping[Any, Any]) -> bool:
    return row["part_id"] is not None and row["inspection_no"] is None


def _part(row: Mapping[Any, Any]) -> Part:
    return row["gate"] or row["camera"], row["part_id"], row["simulated"]


def _trigger(row: Mapping[Any, Any]) -> Trigger | None:
    return None if row["trigger_id"] is None else (row["epoch"], row["lap"], row["trigger_id"])


def _inspections(connection: sa.Connection, part_ids: list[str]) -> list[Mapping[Any, Any]]:
    column = results.c
    query = sa.select(
        column.result_id,
        column.part_id,
        column.gate,
        column.camera,
        column.simulated,
        column.epoch,
        column.lap,
        column.trigger_id,
        column.inspection_no,
    ).where(column.part_id.in_(part_ids))
    return list(connection.execute(query).mappings())
