"""Modes and jobs in rows, commands, holds; indexes for lots and for outcomes by age.

Columns are only added, with a value for the rows that are there, so no table is copied.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("results", sa.Column("mode", sa.String, nullable=False, server_default="auto"))
    op.create_index("ix_results_lot_received_at", "results", ["lot", "received_at"], **where("lot IS NOT NULL"))
    op.create_index("ix_results_outcome_received_at", "results", ["outcome", "received_at"])
    op.add_column("gates", sa.Column("mode_expires_at", utc_time()))
    op.add_column("gates", sa.Column("jobs", json(), nullable=False, server_default="[]"))
    op.add_column("gates", sa.Column("orders", big(), nullable=False, server_default="0"))
    create_commands()
    create_holds()


def downgrade() -> None:
    """Drops what this revision added, rows and all."""
    op.drop_table("holds")
    op.drop_table("commands")
    op.drop_index("ix_results_outcome_received_at", "results")
    op.drop_index("ix_results_lot_received_at", "results")
    for column in ("orders", "jobs", "mode_expires_at"):
        op.drop_column("gates", column)
    op.drop_column("results", "mode")


def utc_time() -> sa.types.TypeEngine[Any]:
    return sa.String(24).with_variant(postgresql.TIMESTAMP(timezone=True, precision=3), "postgresql")


def big() -> sa.types.TypeEngine[Any]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def json() -> sa.types.TypeEngine[Any]:
    return sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def where(condition: str) -> dict[str, Any]:
    return {"postgresql_where": sa.text(condition), "sqlite_where": sa.text(condition)}


def create_commands() -> None:
    """What the line was told, obeyed or refused."""
    op.create_table(
        "commands",
        sa.Column("id", big(), autoincrement=True, nullable=False),
        sa.Column("cmd_id", sa.String, nullable=False),
        sa.Column("agent", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("by_name", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("sent_at", utc_time(), nullable=False),
        sa.Column("received_at", utc_time(), nullable=False),
        sa.Column("is_obeyed", sa.Boolean, nullable=False),
        sa.Column("detail", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_commands"),
        sa.UniqueConstraint("cmd_id", "agent", name="uq_commands_cmd_id_agent"),
    )


def create_holds() -> None:
    """What must not be taken out, however old it is."""
    op.create_table(
        "holds",
        sa.Column("id", big(), autoincrement=True, nullable=False),
        sa.Column("lot", sa.String),
        sa.Column("product", sa.String),
        sa.Column("result_id", sa.String),
        sa.Column("since", utc_time()),
        sa.Column("until", utc_time()),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("by_name", sa.String, nullable=False),
        sa.Column("held_at", utc_time(), nullable=False),
        sa.Column("released_at", utc_time()),
        sa.Column("released_by", sa.String),
        sa.PrimaryKeyConstraint("id", name="pk_holds"),
    )
