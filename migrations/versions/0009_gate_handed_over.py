"""When and by which agent a gate was held, and which agent began its epoch: known to the agent that takes it over."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("gates", sa.Column("held_since", utc_time()))
    op.add_column("gates", sa.Column("held_by", sa.String))
    op.add_column("gates", sa.Column("epoch_of", sa.String, nullable=False, server_default=""))


def downgrade() -> None:
    """Drops what this revision added, rows and all."""
    for name in ("epoch_of", "held_by", "held_since"):
        op.drop_column("gates", name)


def utc_time() -> sa.types.TypeEngine[Any]:
    return sa.String(24).with_variant(postgresql.TIMESTAMP(timezone=True, precision=3), "postgresql")
