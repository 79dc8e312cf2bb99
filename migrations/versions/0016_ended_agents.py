"""When and by what an agent was ended in order, and the processors on which each agent has judged."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    at = sa.String(24).with_variant(postgresql.TIMESTAMP(timezone=True, precision=3), "postgresql")
    op.add_column("agents", sa.Column("ended_at", at))
    op.add_column("agents", sa.Column("ended_by", sa.String, nullable=False, server_default=""))
    op.create_table(
        "agent_processors",
        sa.Column("agent", sa.String, nullable=False),
        sa.Column("since", at, nullable=False),
        sa.Column("processor", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("agent", "since", name="pk_agent_processors"),
    )


def downgrade() -> None:
    """Drops what this revision added: an agent that was ended in order looks like one that died."""
    op.drop_table("agent_processors")
    with op.batch_alter_table("agents") as batch:
        batch.drop_column("ended_by")
        batch.drop_column("ended_at")
