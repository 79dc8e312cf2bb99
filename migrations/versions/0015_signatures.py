"""Signatures of versions, and the public keys that they are checked by. Versions from before are unsigned."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    at = sa.String(24).with_variant(postgresql.TIMESTAMP(timezone=True, precision=3), "postgresql")
    op.create_table(
        "version_signatures",
        sa.Column("product", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.Column("signed_at", at, nullable=False),
        sa.ForeignKeyConstraint(
            ["product", "version"],
            ["product_versions.product", "product_versions.version"],
            name="fk_version_signatures_product_version_product_versions",
        ),
        sa.PrimaryKeyConstraint("product", "version", "subject", name="pk_version_signatures"),
    )
    op.create_table(
        "signing_keys",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("is_own", sa.Boolean(), nullable=False),
        sa.Column("added_at", at, nullable=False),
        sa.Column("added_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_signing_keys"),
        sa.UniqueConstraint("fingerprint", name="uq_signing_keys_fingerprint"),
    )


def downgrade() -> None:
    """Drops the signatures and the keys: every version is unsigned again."""
    for table in ("signing_keys", "version_signatures"):
        op.drop_table(table)
