"""Reports of PLCs by part: lap, repetitions, contradictions, the part's mode and lot; an index of results by part.

Columns are only added, with a value for the rows that are there, so no table is copied. Of older reports of one gate,
epoch and trigger the first counts as the report of the part; the others stay as they are.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

PART = ["gate", "epoch", "lap", "trigger_id"]


def upgrade() -> None:
    for column in added():
        op.add_column("gate_actions", column)
    op.execute(
        sa.text(
            "UPDATE gate_actions SET kind = 'part' WHERE id IN "
            "(SELECT min(id) FROM gate_actions GROUP BY gate, epoch, trigger_id)"
        )
    )
    op.create_index("uq_gate_actions_part", "gate_actions", PART, unique=True, **where("kind = 'part'"))
    op.create_index(
        "uq_gate_actions_in_flight", "gate_actions", ["report_id"], unique=True, **where("kind = 'in_flight'")
    )
    op.create_index("ix_gate_actions_result_id", "gate_actions", ["result_id"], **where("result_id IS NOT NULL"))
    op.create_index("ix_gate_actions_lot", "gate_actions", ["lot"], **where("lot IS NOT NULL"))
    op.create_index("ix_results_part", "results", PART, **where("gate IS NOT NULL AND trigger_id IS NOT NULL"))


def downgrade() -> None:
    """Drops what this revision added."""
    op.drop_index("ix_results_part", "results")
    for name in ("ix_gate_actions_lot", "ix_gate_actions_result_id", "uq_gate_actions_in_flight"):
        op.drop_index(name, "gate_actions")
    op.drop_index("uq_gate_actions_part", "gate_actions")
    for column in reversed(added()):
        op.drop_column("gate_actions", column.name)


def added() -> list[sa.Column[Any]]:
    return [
        sa.Column("lap", big(), nullable=False, server_default="0"),
        sa.Column("kind", sa.String, nullable=False, server_default="old"),
        sa.Column("repeats", sa.Integer, nullable=False, server_default="0"),
        sa.Column("others", json(), nullable=False, server_default="[]"),
        sa.Column("report_id", sa.String),
        sa.Column("agent", sa.String),
        sa.Column("result_id", sa.String),
        sa.Column("mode", sa.String, nullable=False, server_default="auto"),
        sa.Column("lot", sa.String),
        sa.Column("job_id", sa.String),
    ]


def big() -> sa.types.TypeEngine[Any]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def json() -> sa.types.TypeEngine[Any]:
    return sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def where(condition: str) -> dict[str, Any]:
    return {"postgresql_where": sa.text(condition), "sqlite_where": sa.text(condition)}
