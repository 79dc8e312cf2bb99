"""Which holds of a gate a person has ended, and the trigger modulus that its counts were made with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    plain_or_binary = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("gates", sa.Column("ended_holds", plain_or_binary, nullable=False, server_default="[]"))
    op.add_column("gates", sa.Column("modulus", sa.BigInteger().with_variant(sa.Integer(), "sqlite")))


def downgrade() -> None:
    """Drops what this revision added, rows and all."""
    for name in ("modulus", "ended_holds"):
        op.drop_column("gates", name)
