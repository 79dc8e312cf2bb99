"""Reviews with their kind, blind or not, undone or not; long jobs; an index of a product's results in their order."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("reviews", sa.Column("kind", sa.String))
    op.add_column("reviews", sa.Column("is_blind", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("reviews", sa.Column("undone_at", utc_time()))
    op.add_column("reviews", sa.Column("undone_by", sa.String))
    op.create_index("ix_reviews_label", "reviews", ["label"])
    op.create_index("ix_reviews_at", "reviews", ["at"])
    op.create_index(
        "ix_results_product_seq",
        "results",
        ["product", "seq"],
        postgresql_where=sa.text("product IS NOT NULL"),
        sqlite_where=sa.text("product IS NOT NULL"),
    )
    op.create_table(
        "jobs",
        sa.Column("id", big(), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("request", json(), nullable=False),
        sa.Column("asked_by", sa.String, nullable=False),
        sa.Column("asked_at", utc_time(), nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("progress", json(), nullable=False),
        sa.Column("result", json()),
        sa.Column("detail", sa.String, nullable=False),
        sa.Column("worker", sa.String),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("started_at", utc_time()),
        sa.Column("heard_at", utc_time()),
        sa.Column("ended_at", utc_time()),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_jobs_state_id", "jobs", ["state", "id"])


def downgrade() -> None:
    """Drops what this revision added, rows and all."""
    op.drop_table("jobs")
    op.drop_index("ix_results_product_seq", "results")
    for name in ("ix_reviews_at", "ix_reviews_label"):
        op.drop_index(name, "reviews")
    for name in ("undone_by", "undone_at", "is_blind", "kind"):
        op.drop_column("reviews", name)


def utc_time() -> sa.types.TypeEngine[Any]:
    return sa.String(24).with_variant(postgresql.TIMESTAMP(timezone=True, precision=3), "postgresql")


def big() -> sa.types.TypeEngine[Any]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def json() -> sa.types.TypeEngine[Any]:
    return sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
