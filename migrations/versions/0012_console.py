"""People of the console with their sessions, and counts of results by hour."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "people",
        sa.Column("name", sa.String, nullable=False),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("password_hash", sa.String, nullable=False),
        sa.Column("created_at", utc_time(), nullable=False),
        sa.Column("changed_at", utc_time(), nullable=False),
        sa.Column("is_locked", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_people"),
    )
    op.create_table(
        "sessions",
        sa.Column("token_sha256", sa.String, nullable=False),
        sa.Column("person", sa.String, nullable=False),
        sa.Column("csrf", sa.String, nullable=False),
        sa.Column("created_at", utc_time(), nullable=False),
        sa.Column("expires_at", utc_time(), nullable=False),
        sa.PrimaryKeyConstraint("token_sha256", name="pk_sessions"),
    )
    op.create_index("ix_sessions_person", "sessions", ["person"])
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])
    op.create_table(
        "hour_counts",
        sa.Column("id", big(), autoincrement=True, nullable=False),
        sa.Column("hour", sa.String, nullable=False),
        sa.Column("camera", sa.String, nullable=False),
        sa.Column("product", sa.String),
        sa.Column("product_version", sa.Integer),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("cause", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("is_first", sa.Boolean, nullable=False),
        sa.Column("results", big(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_hour_counts"),
    )
    op.create_index("ix_hour_counts_hour", "hour_counts", ["hour"])
    op.create_table(
        "counted_hours",
        sa.Column("hour", sa.String, nullable=False),
        sa.Column("counted_at", utc_time(), nullable=False),
        sa.PrimaryKeyConstraint("hour", name="pk_counted_hours"),
    )


def downgrade() -> None:
    """Drops what this revision added, rows and all."""
    for table in ("counted_hours", "hour_counts", "sessions", "people"):
        op.drop_table(table)


def utc_time() -> sa.types.TypeEngine[Any]:
    return sa.String(24).with_variant(postgresql.TIMESTAMP(timezone=True, precision=3), "postgresql")


def big() -> sa.types.TypeEngine[Any]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
