"""Numbering the inspections of a part costs the same, whether its part id has ten rows or a hundred thousand."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from inspector.store.database import Database, ensure_schema
from inspector.store.ledger import inspections

PARTS = {("g", "p", False), ("cam1", "q", True)}
TRIGGERS = {("g", 1, 0, 5), ("g", 1, 0, 6)}


@pytest.mark.parametrize(
    ("query", "indexes"),
    [
        (inspections._highest(PARTS), {"ix_results_part_id_gate", "ix_results_part_id_camera"}),
        (inspections._of_triggers(TRIGGERS, is_gated=True), {"ix_results_part"}),
        (inspections._of_triggers(TRIGGERS, is_gated=False), {"ix_results_camera_trigger"}),
    ],
    ids=["highest", "triggers of gates", "triggers of cameras"],
)
async def test_inspections_are_numbered_by_looks_into_indexes(
    query: sa.Select[tuple[object, ...]], indexes: set[str], tmp_path: Path
) -> None:
    async with Database(f"sqlite:///{tmp_path / 'db.sqlite'}") as database:
        await ensure_schema(database)
        async with database.reading() as connection:
            bound = query.compile(connection.sync_connection, compile_kwargs={"literal_binds": True})
            plan = [row[3] for row in await connection.execute(sa.text(f"EXPLAIN QUERY PLAN {bound}"))]
    looks = [step for step in plan if "results" in step]
    assert {step.split("INDEX ")[1].split()[0] for step in looks} == indexes
    assert all(step.startswith("SEARCH") and step.count("=?") >= 3 for step in looks)
