"""The first tables: results, gates, registry, and what people may have to know beside them.

Spelled out without importing today's `inspector.store.tables`: this revision must mean the same for ever.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "results",
    "gates",
    "decisions",
    "gate_actions",
    "products",
    "product_versions",
    "registry_revision",
    "events",
    "conflicts",
    "shadow_results",
    "audit",
    "reviews",
    "cameras",
    "agents",
)


def upgrade() -> None:
    create_results()
    create_gates()
    create_registry()
    create_records()
    create_reviews()
    create_plant()


def downgrade() -> None:
    """Drops everything, rows and all."""
    for table in reversed(TABLES):
        op.drop_table(table)


def utc_time() -> sa.types.TypeEngine[Any]:
    return sa.String(24).with_variant(postgresql.TIMESTAMP(timezone=True, precision=3), "postgresql")


def big() -> sa.types.TypeEngine[Any]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def json() -> sa.types.TypeEngine[Any]:
    return sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def where(condition: str) -> dict[str, Any]:
    return {"postgresql_where": sa.text(condition), "sqlite_where": sa.text(condition)}


def identity_columns() -> list[sa.Column[Any]]:
    """Which frame of which part, and what was found."""
    return [
        sa.Column("seq", big(), autoincrement=True, nullable=False),
        sa.Column("schema", sa.Integer, nullable=False),
        sa.Column("result_id", sa.String, nullable=False),
        sa.Column("camera", sa.String, nullable=False),
        sa.Column("view", sa.String, nullable=False),
        sa.Column("gate", sa.String),
        sa.Column("epoch", big(), nullable=False),
        sa.Column("lap", big(), nullable=False),
        sa.Column("frame_id", sa.String),
        sa.Column("trigger_id", big()),
        sa.Column("part_id", sa.String),
        sa.Column("inspection_no", sa.Integer),
        sa.Column("lot", sa.String),
        sa.Column("job_id", sa.String),
        sa.Column("product", sa.String),
        sa.Column("product_version", sa.Integer),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("cause", sa.String, nullable=False),
        sa.Column("cause_detail", sa.String),
        sa.Column("action", sa.String, nullable=False),
    ]


def judgement_columns() -> list[sa.Column[Any]]:
    """How it was found, when, and by whom."""
    return [
        sa.Column("level", sa.Double),
        sa.Column("score", sa.Double),
        sa.Column("threshold", sa.Double),
        sa.Column("route_confidence", sa.Double),
        sa.Column("captured_at", utc_time()),
        sa.Column("received_at", utc_time(), nullable=False),
        sa.Column("decided_at", utc_time(), nullable=False),
        sa.Column("act_before", utc_time()),
        sa.Column("time_source", sa.String),
        sa.Column("published", sa.Boolean),
        sa.Column("shadow", sa.Boolean, nullable=False),
        sa.Column("simulated", sa.Boolean, nullable=False),
        sa.Column("redelivered", sa.Boolean, nullable=False),
        sa.Column("id_conflict", sa.Boolean, nullable=False),
        sa.Column("identity", sa.String, nullable=False),
        sa.Column("decode_ms", sa.Double),
        sa.Column("route_ms", sa.Double),
        sa.Column("embed_ms", sa.Double),
        sa.Column("score_ms", sa.Double),
        sa.Column("total_ms", sa.Double),
        sa.Column("frame_sha256", sa.String),
        sa.Column("artifact_digest", sa.String),
        sa.Column("registry_revision", sa.String),
        sa.Column("config_digest", sa.String, nullable=False),
        sa.Column("software", sa.String, nullable=False),
        sa.Column("engine", sa.String),
        sa.Column("agent", sa.String, nullable=False),
        sa.Column("regions", json(), nullable=False),
    ]


def create_results() -> None:
    """One row per distinct frame."""
    op.create_table(
        "results",
        *identity_columns(),
        *judgement_columns(),
        sa.PrimaryKeyConstraint("seq", name="pk_results"),
        sa.UniqueConstraint("result_id", name="uq_results_result_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_results_camera_seq", "results", ["camera", "seq"])
    op.create_index("ix_results_part_id", "results", ["part_id"], **where("part_id IS NOT NULL"))
    op.create_index("ix_results_received_at", "results", ["received_at"])


def create_gates() -> None:
    """What gates are told, and what they say they did."""
    op.create_table(
        "gates",
        sa.Column("name", sa.String, nullable=False),
        sa.Column("epoch", big(), nullable=False),
        sa.Column("last_trigger", big()),
        sa.Column("reject_streak", sa.Integer, nullable=False),
        sa.Column("held", sa.Boolean, nullable=False),
        sa.Column("mode", sa.String, nullable=False),
        sa.Column("updated_at", utc_time(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_gates"),
    )
    op.create_table(
        "decisions",
        sa.Column("id", big(), autoincrement=True, nullable=False),
        sa.Column("gate", sa.String, nullable=False),
        sa.Column("epoch", big(), nullable=False),
        sa.Column("lap", big(), nullable=False),
        sa.Column("trigger_id", big()),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("cause", sa.String, nullable=False),
        sa.Column("result_id", sa.String, nullable=False),
        sa.Column("act_before", utc_time(), nullable=False),
        sa.Column("sent", sa.Integer, nullable=False),
        sa.Column("updated_at", utc_time(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
    )
    op.create_index("ix_decisions_updated_at", "decisions", ["updated_at"])
    op.create_index("uq_decisions_in_flight", "decisions", ["result_id"], unique=True, **where("trigger_id IS NULL"))
    op.create_index(
        "uq_decisions_part",
        "decisions",
        ["gate", "epoch", "lap", "trigger_id"],
        unique=True,
        **where("trigger_id IS NOT NULL"),
    )
    op.create_table(
        "gate_actions",
        sa.Column("id", big(), autoincrement=True, nullable=False),
        sa.Column("gate", sa.String, nullable=False),
        sa.Column("epoch", big(), nullable=False),
        sa.Column("trigger_id", big(), nullable=False),
        sa.Column("action", sa.Integer, nullable=False),
        sa.Column("source", sa.Integer, nullable=False),
        sa.Column("done", sa.Integer, nullable=False),
        sa.Column("received_at", utc_time(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_gate_actions"),
    )
    op.create_index("ix_gate_actions_gate_epoch_trigger_id", "gate_actions", ["gate", "epoch", "trigger_id"])
    op.create_index("ix_gate_actions_received_at", "gate_actions", ["received_at"])


def create_registry() -> None:
    """Enrolled products; the counter of changes has one row from the start."""
    op.create_table(
        "products",
        sa.Column("name", sa.String, nullable=False),
        sa.Column("live_version", sa.Integer),
        sa.Column("shadow_version", sa.Integer),
        sa.Column("live_before", json(), nullable=False),
        sa.Column("created_at", utc_time(), nullable=False),
        sa.Column("updated_at", utc_time(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_products"),
    )
    op.create_table(
        "product_versions",
        sa.Column("product", sa.String, nullable=False),
        sa.Column("version", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("head", sa.String, nullable=False),
        sa.Column("profile", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("size_bytes", big(), nullable=False),
        sa.Column("threshold", sa.Double, nullable=False),
        sa.Column("created_at", utc_time(), nullable=False),
        sa.Column("created_by", sa.String, nullable=False),
        sa.Column("manifest", json(), nullable=False),
        sa.Column("artifact", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(["product"], ["products.name"], name="fk_product_versions_product_products"),
        sa.PrimaryKeyConstraint("product", "version", name="pk_product_versions"),
    )
    op.create_table(
        "registry_revision",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("revision", big(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_registry_revision"),
    )
    op.execute(sa.text("INSERT INTO registry_revision (id, revision) VALUES (1, 0)"))


def create_records() -> None:
    """What people may have to know beside the results."""
    op.create_table(
        "events",
        sa.Column("id", big(), autoincrement=True, nullable=False),
        sa.Column("at", utc_time(), nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("severity", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("detail", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
    )
    op.create_index("ix_events_at", "events", ["at"])
    op.create_table(
        "conflicts",
        sa.Column("id", big(), autoincrement=True, nullable=False),
        sa.Column("at", utc_time(), nullable=False),
        sa.Column("result_id", sa.String, nullable=False),
        sa.Column("stored_outcome", sa.String, nullable=False),
        sa.Column("stored_agent", sa.String, nullable=False),
        sa.Column("refused_outcome", sa.String, nullable=False),
        sa.Column("refused_agent", sa.String, nullable=False),
        sa.Column("refused_record", json(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_conflicts"),
        sa.UniqueConstraint(
            "result_id", "refused_outcome", "refused_agent", name="uq_conflicts_result_id_refused_outcome_refused_agent"
        ),
    )
    op.create_table(
        "shadow_results",
        sa.Column("id", big(), autoincrement=True, nullable=False),
        sa.Column("result_id", sa.String, nullable=False),
        sa.Column("camera", sa.String, nullable=False),
        sa.Column("product", sa.String, nullable=False),
        sa.Column("product_version", sa.Integer, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("level", sa.Double),
        sa.Column("score", sa.Double),
        sa.Column("threshold", sa.Double),
        sa.Column("score_ms", sa.Double),
        sa.Column("artifact_digest", sa.String),
        sa.Column("decided_at", utc_time(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_shadow_results"),
        sa.UniqueConstraint(
            "result_id", "product", "product_version", name="uq_shadow_results_result_id_product_product_version"
        ),
    )
    op.create_index("ix_shadow_results_decided_at", "shadow_results", ["decided_at"])


def create_reviews() -> None:
    """What people did and said; audit rows are chained by their hashes."""
    op.create_table(
        "audit",
        sa.Column("seq", big(), autoincrement=True, nullable=False),
        sa.Column("at", utc_time(), nullable=False),
        sa.Column("user_name", sa.String, nullable=False),
        sa.Column("object", sa.String, nullable=False),
        sa.Column("old_value", sa.String),
        sa.Column("new_value", sa.String),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("prev_hash", sa.String, nullable=False),
        sa.Column("hash", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "reviews",
        sa.Column("id", big(), autoincrement=True, nullable=False),
        sa.Column("at", utc_time(), nullable=False),
        sa.Column("user_name", sa.String, nullable=False),
        sa.Column("result_id", sa.String, nullable=False),
        sa.Column("label", sa.String, nullable=False),
        sa.Column("comment", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reviews"),
    )
    op.create_index("ix_reviews_result_id", "reviews", ["result_id"])


def create_plant() -> None:
    """Who looks at the line."""
    op.create_table(
        "cameras",
        sa.Column("name", sa.String, nullable=False),
        sa.Column("gate", sa.String),
        sa.Column("agent", sa.String, nullable=False),
        sa.Column("seen_at", utc_time(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_cameras"),
    )
    op.create_table(
        "agents",
        sa.Column("name", sa.String, nullable=False),
        sa.Column("software", sa.String, nullable=False),
        sa.Column("config_digest", sa.String, nullable=False),
        sa.Column("started_at", utc_time(), nullable=False),
        sa.Column("seen_at", utc_time(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_agents"),
    )
