"""What holds a gate: the reason, the counts that lead to it, how often it was released, and golden challenges.

Columns are only added, with a value for the rows that are there, so no table is copied.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("gates", sa.Column("held_for", sa.String))
    op.add_column("gates", sa.Column("storm", json(), nullable=False, server_default="{}"))
    op.add_column("gates", sa.Column("releases", big(), nullable=False, server_default="0"))
    op.add_column("gates", sa.Column("watched", big(), nullable=False, server_default="0"))
    op.add_column("gates", sa.Column("golden", json(), nullable=False, server_default="{}"))
    create_challenges()


def downgrade() -> None:
    """Drops what this revision added."""
    op.drop_table("challenges")
    for column in ("golden", "watched", "releases", "storm", "held_for"):
        op.drop_column("gates", column)


def big() -> sa.types.TypeEngine[Any]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def json() -> sa.types.TypeEngine[Any]:
    return sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def utc_time() -> sa.types.TypeEngine[Any]:
    return sa.String(24).with_variant(postgresql.TIMESTAMP(timezone=True, precision=3), "postgresql")


def create_challenges() -> None:
    """Reference parts that were run through a gate, who ordered it, and how it ended."""
    op.create_table(
        "challenges",
        sa.Column("id", big(), autoincrement=True, nullable=False),
        sa.Column("challenge_id", sa.String, nullable=False),
        sa.Column("gate", sa.String, nullable=False),
        sa.Column("agent", sa.String, nullable=False),
        sa.Column("by_name", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("begun", utc_time(), nullable=False),
        sa.Column("ended", utc_time()),
        sa.Column("within_s", sa.Double, nullable=False),
        sa.Column("product", sa.String),
        sa.Column("version", sa.Integer),
        sa.Column("expected", json(), nullable=False),
        sa.Column("seen", json(), nullable=False),
        sa.Column("acks", json(), nullable=False),
        sa.Column("result", sa.String, nullable=False),
        sa.Column("detail", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_challenges"),
        sa.UniqueConstraint("challenge_id", "gate", "agent", name="uq_challenges_challenge_id_gate_agent"),
    )
    op.create_index("ix_challenges_gate_begun", "challenges", ["gate", "begun"])
