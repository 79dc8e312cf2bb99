"""Why a shadow version failed on a frame, and an index for the comparison of a shadow version with the live one.

The table was there already and is only added to.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("shadow_results", sa.Column("detail", sa.String))
    op.create_index(
        "ix_shadow_results_version_decided_at", "shadow_results", ["product", "product_version", "decided_at"]
    )


def downgrade() -> None:
    """Drops what this revision added, rows and all."""
    op.drop_index("ix_shadow_results_version_decided_at", "shadow_results")
    op.drop_column("shadow_results", "detail")
