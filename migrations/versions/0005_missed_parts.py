"""Missed parts that a frame corrected, and the skipped parts of a gate that have no row yet.

Columns are only added, with a value for the rows that are there, so no table is copied.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("results", sa.Column("corrected_by", sa.String))
    op.add_column("gates", sa.Column("gaps", json, nullable=False, server_default="[]"))


def downgrade() -> None:
    """Drops what this revision added."""
    op.drop_column("gates", "gaps")
    op.drop_column("results", "corrected_by")
