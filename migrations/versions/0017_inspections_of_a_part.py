"""Indexes that number the inspections of a part, however many rows its part id has."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def where(condition: str) -> dict[str, Any]:
    """The condition of a partial index, on both databases."""
    return {"postgresql_where": sa.text(condition), "sqlite_where": sa.text(condition)}


def upgrade() -> None:
    without_gate = "part_id IS NOT NULL AND gate IS NULL"
    at_gate, at_camera = ["part_id", "gate"], ["part_id", "camera"]
    number = ["simulated", "inspection_no"]
    op.create_index("ix_results_part_id_gate", "results", at_gate + number, **where("part_id IS NOT NULL"))
    op.create_index("ix_results_part_id_camera", "results", at_camera + number, **where(without_gate))
    trigger = ["camera", "epoch", "lap", "trigger_id"]
    op.create_index("ix_results_camera_trigger", "results", trigger, **where(without_gate))
    op.drop_index("ix_results_part_id", "results")


def downgrade() -> None:
    """Leaves every row as it is."""
    op.create_index("ix_results_part_id", "results", ["part_id"], **where("part_id IS NOT NULL"))
    for name in ("ix_results_camera_trigger", "ix_results_part_id_camera", "ix_results_part_id_gate"):
        op.drop_index(name, "results")
