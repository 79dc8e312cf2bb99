"""Which agent owns each gate, and the session of each agent."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("agents", sa.Column("session", sa.String, nullable=False, server_default=""))
    op.create_table(
        "gate_owners",
        sa.Column("gate", sa.String, nullable=False),
        sa.Column("agent", sa.String, nullable=False),
        sa.Column("identity", sa.String, nullable=False),
        sa.Column("session", sa.String, nullable=False),
        sa.Column("epoch", big(), nullable=False),
        sa.Column("since", utc_time(), nullable=False),
        sa.Column("seen_at", utc_time(), nullable=False),
        sa.PrimaryKeyConstraint("gate", name="pk_gate_owners"),
    )


def downgrade() -> None:
    """Drops what this revision added, rows and all."""
    op.drop_table("gate_owners")
    op.drop_column("agents", "session")


def utc_time() -> sa.types.TypeEngine[Any]:
    return sa.String(24).with_variant(postgresql.TIMESTAMP(timezone=True, precision=3), "postgresql")


def big() -> sa.types.TypeEngine[Any]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
