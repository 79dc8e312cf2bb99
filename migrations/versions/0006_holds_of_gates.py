"""What holds a gate: the reason, the counts that lead to it, and how often it was released.

Columns are only added, with a value for the rows that are there, so no table is copied.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("gates", sa.Column("held_for", sa.String))
    op.add_column("gates", sa.Column("storm", json(), nullable=False, server_default="{}"))
    op.add_column("gates", sa.Column("releases", big(), nullable=False, server_default="0"))
    op.add_column("gates", sa.Column("watched", big(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Drops what this revision added."""
    for column in ("watched", "releases", "storm", "held_for"):
        op.drop_column("gates", column)


def big() -> sa.types.TypeEngine[Any]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def json() -> sa.types.TypeEngine[Any]:
    return sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
