"""What a frame that came too late showed when it was judged afterwards.

Columns are only added, and rows that are there keep null, so no table is copied.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

WAITING = "late_outcome = 'waiting'"


def upgrade() -> None:
    op.add_column("results", sa.Column("late_outcome", sa.String))
    op.add_column("results", sa.Column("late_cause", sa.String))
    op.add_column("results", sa.Column("late_detail", sa.String))
    op.add_column("results", sa.Column("judged_at", utc_time()))
    op.create_index(
        "ix_results_waiting_agent",
        "results",
        ["agent", "seq"],
        postgresql_where=sa.text(WAITING),
        sqlite_where=sa.text(WAITING),
    )


def downgrade() -> None:
    """Drops what this revision added, with what it holds."""
    op.drop_index("ix_results_waiting_agent", "results")
    for column in ("judged_at", "late_detail", "late_cause", "late_outcome"):
        op.drop_column("results", column)


def utc_time() -> sa.types.TypeEngine[Any]:
    return sa.String(24).with_variant(postgresql.TIMESTAMP(timezone=True, precision=3), "postgresql")
