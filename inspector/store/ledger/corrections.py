"""Corrects the rows of parts that counted as missed and whose frames came after all.

The id of a missed part's row follows from the part, so it is found by the unique key of `results`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from inspector.domain import Cause, Correction, ResultId, Verdict, missed_result_id
from inspector.store.tables import results

_IDS_PER_QUERY: Final = 500

RECENT_ROWS: Final = 10_000
"""Rows in which the frame of a missed part is looked up. Its row can be older only by another agent's delay."""

_UNCORRECTED = sa.select(results.c.result_id).where(
    results.c.result_id.in_(sa.bindparam("ids", expanding=True)), results.c.corrected_by.is_(None)
)

Part = tuple[str, int, int, int]
"""Gate, epoch, lap and trigger id."""


def correct_misses(connection: sa.Connection, verdicts: Sequence[Verdict]) -> list[Correction]:
    """Correct the rows of missed parts by the frames among these verdicts. Call after their rows are inserted."""
    frames = {part: verdict.result_id for verdict in verdicts if (part := _part_of_frame(verdict)) is not None}
    parts = (_part(verdict) for verdict in verdicts if verdict.cause is Cause.NOT_RECEIVED)
    missed = {part for part in parts if part is not None}
    frames = {**_recent_frames(connection, missed), **frames}
    rows = _uncorrected(connection, {missed_result_id(*part): part for part in frames})
    corrections = [
        Correction(gate, epoch, trigger_id, missed_id, frames[gate, epoch, lap, trigger_id])
        for missed_id, (gate, epoch, lap, trigger_id) in rows.items()
    ]
    if corrections:
        row = results.update().where(results.c.result_id == sa.bindparam("missed"))
        connection.execute(
            row.values(corrected_by=sa.bindparam("by")),
            [{"missed": each.missed_id, "by": each.result_id} for each in corrections],
        )
    return corrections


def _uncorrected(connection: sa.Connection, wanted: dict[ResultId, Part]) -> dict[ResultId, Part]:
    ids, found = list(wanted), dict[ResultId, Part]()
    for start in range(0, len(ids), _IDS_PER_QUERY):
        rows = connection.execute(_UNCORRECTED, {"ids": ids[start : start + _IDS_PER_QUERY]})
        found.update({row.result_id: wanted[row.result_id] for row in rows})
    return found


def _recent_frames(connection: sa.Connection, missed: set[Part]) -> dict[Part, ResultId]:
    """Frames of these parts that have rows already, for example the rows of an agent that had the gate before."""
    if not missed:
        return {}
    column = results.c
    newest = sa.select(sa.func.max(column.seq)).scalar_subquery()
    query = sa.select(column.result_id, column.gate, column.epoch, column.lap, column.trigger_id).where(
        column.seq > newest - RECENT_ROWS,
        column.gate.in_({part[0] for part in missed}),
        column.epoch.in_({part[1] for part in missed}),
        column.trigger_id.is_not(None),
        column.frame_sha256.is_not(None),
        column.simulated.is_(False),
    )
    rows = [((row.gate, row.epoch, row.lap, row.trigger_id), row.result_id) for row in connection.execute(query)]
    return {part: ResultId(result_id) for part, result_id in reversed(rows) if part in missed}


def _part_of_frame(verdict: Verdict) -> Part | None:
    return None if verdict.frame_sha256 is None or verdict.simulated else _part(verdict)


def _part(verdict: Verdict) -> Part | None:
    if verdict.gate is None or verdict.trigger_id is None:
        return None
    return verdict.gate, verdict.epoch, verdict.lap, verdict.trigger_id
