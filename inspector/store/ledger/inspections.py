"""Numbers the inspections of a part: 1 for the first, and one more whenever the part comes again.

A station is a gate, or a camera without a gate. Each station counts on its own, and simulated parts have a
count of their own. All views of one trigger are one inspection. First-pass yield counts number 1 only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from inspector.store.tables import results

Part = tuple[str, str, bool]
Trigger = tuple[int, int, int]
_ROWS_PER_QUERY = 500


def numbered(connection: sa.Connection, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Set `inspection_no` in rows with a part id and no number yet. Call in the transaction of the insert."""
    unnumbered = [row for row in rows if _wants_number(row)]
    count = _Count()
    for start in range(0, len(unnumbered), _ROWS_PER_QUERY):
        count.load(connection, unnumbered[start : start + _ROWS_PER_QUERY])
    for row in unnumbered:
        row["inspection_no"] = count.number_of(row)
        count.add(row)
    return rows


class _Count:
    """Inspections of the parts of one batch, in earlier rows and in the batch itself."""

    def __init__(self) -> None:
        self._highest: dict[Part, int] = {}
        self._by_trigger: dict[tuple[Part, Trigger | None], int] = {}
        self._by_result: dict[str, int] = {}

    def load(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take what the store knows of these rows. A part id may have any number of rows, and few of them are read."""
        again = sa.select(results.c.result_id, results.c.inspection_no).where(
            results.c.result_id.in_(row["result_id"] for row in rows)
        )
        self._by_result |= {result_id: number or 0 for result_id, number in connection.execute(again)}
        for part_id, station, simulated, *highest in connection.execute(_highest({_part(row) for row in rows})):
            self._highest[station, part_id, simulated] = max(number or 0 for number in highest)
        for is_gated in (True, False):
            triggers = {
                (_station(row), *trigger)
                for row in rows
                if (trigger := _trigger(row)) is not None and (row["gate"] is not None) is is_gated
            }
            if triggers:
                for earlier in connection.execute(_of_triggers(triggers, is_gated=is_gated)).mappings():
                    self._by_trigger[_part(earlier), _trigger(earlier)] = earlier["inspection_no"] or 0

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


def _station(row: Mapping[Any, Any]) -> str:
    return str(row["gate"] or row["camera"])


def _part(row: Mapping[Any, Any]) -> Part:
    return _station(row), row["part_id"], row["simulated"]


def _trigger(row: Mapping[Any, Any]) -> Trigger | None:
    return None if row["trigger_id"] is None else (row["epoch"], row["lap"], row["trigger_id"])


def _highest(parts: set[Part]) -> sa.Select[Any]:
    """The highest number of each part at its station, one look into an index for each."""
    column = results.c
    wanted = (
        sa.values(
            sa.column("station", sa.String),
            sa.column("part_id", sa.String),
            sa.column("simulated", sa.Boolean),
            name="wanted",
        )
        .data(sorted(parts))
        .cte("wanted")
    )
    same = (column.part_id == wanted.c.part_id, column.simulated == wanted.c.simulated)
    number = sa.select(sa.func.max(column.inspection_no))
    of_gate = number.where(column.gate == wanted.c.station, *same)
    of_camera = number.where(column.gate.is_(None), column.camera == wanted.c.station, *same)
    return sa.select(
        wanted.c.part_id,
        wanted.c.station,
        wanted.c.simulated,
        of_gate.scalar_subquery(),
        of_camera.scalar_subquery(),
    )


def _of_triggers(triggers: set[tuple[str, int, int, int]], *, is_gated: bool) -> sa.Select[Any]:
    """The numbered rows of these triggers, of gates or of cameras without one, by the index of either."""
    column = results.c
    wanted = (
        sa.values(
            sa.column("station", sa.String),
            sa.column("epoch", sa.BigInteger),
            sa.column("lap", sa.BigInteger),
            sa.column("trigger_id", sa.BigInteger),
            name="wanted",
        )
        .data(sorted(triggers))
        .cte("wanted")
    )
    station = column.gate if is_gated else column.camera
    return (
        sa.select(
            column.part_id,
            column.gate,
            column.camera,
            column.simulated,
            column.epoch,
            column.lap,
            column.trigger_id,
            column.inspection_no,
        )
        .join_from(
            wanted,
            results,
            sa.and_(
                station == wanted.c.station,
                column.epoch == wanted.c.epoch,
                column.lap == wanted.c.lap,
                column.trigger_id == wanted.c.trigger_id,
            ),
        )
        .where(column.part_id.is_not(None), column.gate.is_not(None) if is_gated else column.gate.is_(None))
        .order_by(column.seq)
    )
