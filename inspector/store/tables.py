"""The tables, for SQLite and PostgreSQL alike. `migrations/` must always lead to exactly these tables.

Enums are stored as their words, times as UTC in milliseconds (SQLite: text that sorts), JSON as JSON.
`results.seq` is the order of recording and is never used twice. No table is partitioned: `result_id`
alone is unique. Append a migration for every change here, and set `SCHEMA_REVISION` to it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

from inspector.errors import RowDamaged
from inspector.stream.verdict_record import format_time, parse_time

SCHEMA_REVISION = "0017"
"""The newest migration, at which this software needs the database to be."""

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcTime(sa.types.TypeDecorator[datetime]):
    """An aware time, cut to milliseconds and read back as UTC. SQLite stores RFC 3339 text, which sorts by time."""

    impl = sa.String(24)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(TIMESTAMP(timezone=True, precision=3))
        return dialect.type_descriptor(sa.String(24))

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> Any:
        if value is None:
            return None
        if dialect.name == "postgresql":  # PostgreSQL would round a finer time up
            return value.replace(microsecond=value.microsecond // 1000 * 1000)
        return format_time(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        if value is None:
            return None
        if isinstance(value, datetime):
            return value.astimezone(UTC)
        try:
            return parse_time(value)
        except (ValueError, TypeError):
            raise RowDamaged(
                f"A row of the database holds {value!r} where a time belongs, for example 2025-03-01T06:00:00.000Z; "
                "mend it there, or restore the database from a backup."
            ) from None


BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite numbers rows by itself for INTEGER keys only
JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def as_bytes(column: sa.Column[bytes]) -> sa.ColumnElement[bytes]:
    """The column's bytes, whatever SQLite keeps in it: reading text that is not UTF-8 would fail the whole query."""
    return sa.cast(column, sa.LargeBinary)


def _number(name: str = "id") -> sa.Column[int]:
    return sa.Column(name, BIG, primary_key=True, autoincrement=True)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False)


results = sa.Table(
    "results",
    metadata,
    _number("seq"),
    sa.Column("schema", sa.Integer, nullable=False),
    sa.Column("result_id", sa.String, nullable=False, unique=True),
    sa.Column("camera", sa.String, nullable=False),
    sa.Column("view", sa.String, nullable=False),
    sa.Column("gate", sa.String),
    sa.Column("epoch", BIG, nullable=False),
    sa.Column("lap", BIG, nullable=False),
    sa.Column("mode", sa.String, nullable=False, server_default="auto"),
    sa.Column("frame_id", sa.String),
    sa.Column("trigger_id", BIG),
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
    sa.Column("level", sa.Double),
    sa.Column("score", sa.Double),
    sa.Column("threshold", sa.Double),
    sa.Column("route_confidence", sa.Double),
    sa.Column("captured_at", UtcTime),
    sa.Column("received_at", UtcTime, nullable=False),
    sa.Column("decided_at", UtcTime, nullable=False),
    sa.Column("act_before", UtcTime),
    sa.Column("time_source", sa.String),
    sa.Column("published", sa.Boolean),
    _flag("shadow"),
    _flag("simulated"),
    _flag("redelivered"),
    _flag("id_conflict"),
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
    sa.Column("regions", JSON, nullable=False),
    sa.Column("corrected_by", sa.String),  # of a missed part: the result of its frame, which came after all
    sa.Column("late_outcome", sa.String),
    sa.Column("late_cause", sa.String),
    sa.Column("late_detail", sa.String),
    sa.Column("judged_at", UtcTime),
    sa.Index("ix_results_camera_seq", "camera", "seq"),
    sa.Index(
        "ix_results_waiting_agent",
        "agent",
        "seq",
        postgresql_where=sa.text("late_outcome = 'waiting'"),
        sqlite_where=sa.text("late_outcome = 'waiting'"),
    ),
    sa.Index("ix_results_received_at", "received_at"),
    sa.Index(  # the highest number of a part at a gate, and all rows of a part
        "ix_results_part_id_gate",
        "part_id",
        "gate",
        "simulated",
        "inspection_no",
        postgresql_where=sa.text("part_id IS NOT NULL"),
        sqlite_where=sa.text("part_id IS NOT NULL"),
    ),
    sa.Index(  # the same at a camera without a gate
        "ix_results_part_id_camera",
        "part_id",
        "camera",
        "simulated",
        "inspection_no",
        postgresql_where=sa.text("part_id IS NOT NULL AND gate IS NULL"),
        sqlite_where=sa.text("part_id IS NOT NULL AND gate IS NULL"),
    ),
    sa.Index(
        "ix_results_camera_trigger",
        "camera",
        "epoch",
        "lap",
        "trigger_id",
        postgresql_where=sa.text("part_id IS NOT NULL AND gate IS NULL"),
        sqlite_where=sa.text("part_id IS NOT NULL AND gate IS NULL"),
    ),
    sa.Index(
        "ix_results_lot_received_at",
        "lot",
        "received_at",
        postgresql_where=sa.text("lot IS NOT NULL"),
        sqlite_where=sa.text("lot IS NOT NULL"),
    ),
    sa.Index(
        "ix_results_product_seq",
        "product",
        "seq",
        postgresql_where=sa.text("product IS NOT NULL"),
        sqlite_where=sa.text("product IS NOT NULL"),
    ),
    sa.Index("ix_results_outcome_received_at", "outcome", "received_at"),  # retention is by outcome
    sa.Index(
        "ix_results_part",
        "gate",
        "epoch",
        "lap",
        "trigger_id",
        postgresql_where=sa.text("gate IS NOT NULL AND trigger_id IS NOT NULL"),
        sqlite_where=sa.text("gate IS NOT NULL AND trigger_id IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)

gates = sa.Table(
    "gates",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("epoch", BIG, nullable=False),
    sa.Column("last_trigger", BIG),
    sa.Column("reject_streak", sa.Integer, nullable=False),
    _flag("held"),
    sa.Column("mode", sa.String, nullable=False),
    sa.Column("mode_expires_at", UtcTime),
    sa.Column("jobs", JSON, nullable=False, server_default="[]"),
    sa.Column("orders", BIG, nullable=False, server_default="0"),
    sa.Column("gaps", JSON, nullable=False, server_default="[]"),  # [epoch, first count, last count] of each
    sa.Column("updated_at", UtcTime, nullable=False),
    sa.Column("held_for", sa.String),
    sa.Column("storm", JSON, nullable=False, server_default="{}"),
    sa.Column("releases", BIG, nullable=False, server_default="0"),
    sa.Column("watched", BIG, nullable=False, server_default="0"),
    sa.Column("golden", JSON, nullable=False, server_default="{}"),
    sa.Column("held_since", UtcTime),
    sa.Column("held_by", sa.String),
    sa.Column("epoch_of", sa.String, nullable=False, server_default=""),
    sa.Column("ended_holds", JSON, nullable=False, server_default="[]"),
    sa.Column("modulus", BIG),
)

challenges = sa.Table(
    "challenges",
    metadata,
    _number(),
    sa.Column("challenge_id", sa.String, nullable=False),
    sa.Column("gate", sa.String, nullable=False),
    sa.Column("agent", sa.String, nullable=False),
    sa.Column("by_name", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("begun", UtcTime, nullable=False),
    sa.Column("ended", UtcTime),
    sa.Column("within_s", sa.Double, nullable=False),
    sa.Column("product", sa.String),
    sa.Column("version", sa.Integer),
    sa.Column("expected", JSON, nullable=False),
    sa.Column("seen", JSON, nullable=False),
    sa.Column("acks", JSON, nullable=False),
    sa.Column("result", sa.String, nullable=False),
    sa.Column("detail", sa.String, nullable=False),
    sa.UniqueConstraint("challenge_id", "gate", "agent"),
    sa.Index("ix_challenges_gate_begun", "gate", "begun"),
)

decisions = sa.Table(
    "decisions",
    metadata,
    _number(),
    sa.Column("gate", sa.String, nullable=False),
    sa.Column("epoch", BIG, nullable=False),
    sa.Column("lap", BIG, nullable=False),
    sa.Column("trigger_id", BIG),  # null: the one part in flight of a gate without trigger ids
    sa.Column("action", sa.String, nullable=False),
    sa.Column("cause", sa.String, nullable=False),
    sa.Column("result_id", sa.String, nullable=False),
    sa.Column("act_before", UtcTime, nullable=False),
    sa.Column("sent", sa.Integer, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
    sa.Index("ix_decisions_updated_at", "updated_at"),
    sa.Index(
        "uq_decisions_part",
        "gate",
        "epoch",
        "lap",
        "trigger_id",
        unique=True,
        postgresql_where=sa.text("trigger_id IS NOT NULL"),
        sqlite_where=sa.text("trigger_id IS NOT NULL"),
    ),
    sa.Index(
        "uq_decisions_in_flight",
        "result_id",
        unique=True,
        postgresql_where=sa.text("trigger_id IS NULL"),
        sqlite_where=sa.text("trigger_id IS NULL"),
    ),
)

gate_actions = sa.Table(
    "gate_actions",
    metadata,
    _number(),
    sa.Column("gate", sa.String, nullable=False),
    sa.Column("epoch", BIG, nullable=False),
    sa.Column("trigger_id", BIG, nullable=False),
    sa.Column("action", sa.Integer, nullable=False),
    sa.Column("source", sa.Integer, nullable=False),
    sa.Column("done", sa.Integer, nullable=False),
    sa.Column("received_at", UtcTime, nullable=False),
    sa.Column("lap", BIG, nullable=False, server_default="0"),
    # part: names its part; in_flight: names none; old: from before parts were told apart, and not the part's first
    sa.Column("kind", sa.String, nullable=False, server_default="old"),
    sa.Column("repeats", sa.Integer, nullable=False, server_default="0"),
    sa.Column("others", JSON, nullable=False, server_default="[]"),  # reports of the part that say something else
    sa.Column("report_id", sa.String),  # of the last report that was counted
    sa.Column("agent", sa.String),
    sa.Column("result_id", sa.String),  # in_flight: the last frame before it
    sa.Column("mode", sa.String, nullable=False, server_default="auto"),
    sa.Column("lot", sa.String),
    sa.Column("job_id", sa.String),
    sa.Index("ix_gate_actions_gate_epoch_trigger_id", "gate", "epoch", "trigger_id"),
    sa.Index("ix_gate_actions_received_at", "received_at"),
    sa.Index(
        "uq_gate_actions_part",
        "gate",
        "epoch",
        "lap",
        "trigger_id",
        unique=True,
        postgresql_where=sa.text("kind = 'part'"),
        sqlite_where=sa.text("kind = 'part'"),
    ),
    sa.Index(
        "uq_gate_actions_in_flight",
        "report_id",
        unique=True,
        postgresql_where=sa.text("kind = 'in_flight'"),
        sqlite_where=sa.text("kind = 'in_flight'"),
    ),
    sa.Index(
        "ix_gate_actions_result_id",
        "result_id",
        postgresql_where=sa.text("result_id IS NOT NULL"),
        sqlite_where=sa.text("result_id IS NOT NULL"),
    ),
    sa.Index(
        "ix_gate_actions_lot",
        "lot",
        postgresql_where=sa.text("lot IS NOT NULL"),
        sqlite_where=sa.text("lot IS NOT NULL"),
    ),
)

events = sa.Table(
    "events",
    metadata,
    _number(),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("severity", sa.String, nullable=False),
    sa.Column("subject", sa.String, nullable=False),
    sa.Column("detail", sa.String, nullable=False),
    sa.Index("ix_events_at", "at"),
)

conflicts = sa.Table(
    "conflicts",
    metadata,
    _number(),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("result_id", sa.String, nullable=False),
    sa.Column("stored_outcome", sa.String, nullable=False),
    sa.Column("stored_agent", sa.String, nullable=False),
    sa.Column("refused_outcome", sa.String, nullable=False),
    sa.Column("refused_agent", sa.String, nullable=False),
    sa.Column("refused_record", JSON, nullable=False),
    sa.UniqueConstraint("result_id", "refused_outcome", "refused_agent"),
)

# What shadow versions found on frames that another version judged: `result_id` is that row of `results`.
shadow_results = sa.Table(
    "shadow_results",
    metadata,
    _number(),
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
    sa.Column("decided_at", UtcTime, nullable=False),
    sa.Column("detail", sa.String),
    sa.UniqueConstraint("result_id", "product", "product_version"),
    sa.Index("ix_shadow_results_decided_at", "decided_at"),
    sa.Index("ix_shadow_results_version_decided_at", "product", "product_version", "decided_at"),
)

products = sa.Table(
    "products",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("live_version", sa.Integer),
    sa.Column("shadow_version", sa.Integer),
    sa.Column("live_before", JSON, nullable=False),  # versions that were live, oldest first; rollback takes the last
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
)

product_versions = sa.Table(
    "product_versions",
    metadata,
    sa.Column("product", sa.String, sa.ForeignKey("products.name"), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("head", sa.String, nullable=False),
    sa.Column("profile", sa.String, nullable=False),
    sa.Column("digest", sa.String, nullable=False),
    sa.Column("size_bytes", BIG, nullable=False),
    sa.Column("threshold", sa.Double, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("created_by", sa.String, nullable=False),
    sa.Column("manifest", JSON, nullable=False),
    sa.Column("artifact", sa.LargeBinary, nullable=False),  # last, so that SQLite skips it on reading
)

# Who vouches for a version: over the version as it was enrolled, and over a threshold that was moved since.
version_signatures = sa.Table(
    "version_signatures",
    metadata,
    sa.Column("product", sa.String, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("subject", sa.String, primary_key=True),  # version or threshold
    sa.Column("key", sa.String, nullable=False),  # the fingerprint of the signer's public key
    sa.Column("statement", sa.Text, nullable=False),  # exactly as it was signed
    sa.Column("value", sa.String, nullable=False),
    sa.Column("signed_at", UtcTime, nullable=False),
    sa.ForeignKeyConstraint(["product", "version"], ["product_versions.product", "product_versions.version"]),
)

# Public keys whose signatures count, this plant's own among them. Secret keys never come here.
signing_keys = sa.Table(
    "signing_keys",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("text", sa.String, nullable=False),
    sa.Column("fingerprint", sa.String, nullable=False, unique=True),
    sa.Column("is_own", sa.Boolean, nullable=False),
    sa.Column("added_at", UtcTime, nullable=False),
    sa.Column("added_by", sa.String, nullable=False),
)

# Exported passes, once for all versions that use them, so that agents need neither torch nor an export.
graphs = sa.Table(
    "graphs",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("sha256", sa.String, nullable=False),
    sa.Column("size_bytes", BIG, nullable=False),
    sa.Column("described", JSON, nullable=False),  # as `graph` in the manifests of versions
    sa.Column("exporter", sa.Integer, nullable=False),
    sa.Column("versions", JSON, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),  # last, so that SQLite skips it on reading
)

registry_revision = sa.Table(
    "registry_revision",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),  # always 1
    sa.Column("revision", BIG, nullable=False),
)

# Reserved for metrics: which cameras were there, and when last. Written by nothing yet.
cameras = sa.Table(
    "cameras",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("gate", sa.String),
    sa.Column("agent", sa.String, nullable=False),
    sa.Column("seen_at", UtcTime, nullable=False),
)

agents = sa.Table(
    "agents",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("software", sa.String, nullable=False),
    sa.Column("config_digest", sa.String, nullable=False),
    sa.Column("started_at", UtcTime, nullable=False),
    sa.Column("seen_at", UtcTime, nullable=False),
    sa.Column("session", sa.String, nullable=False, server_default=""),
    sa.Column("ended_at", UtcTime),  # null while it runs, and where it was killed
    sa.Column("ended_by", sa.String, nullable=False, server_default=""),
)

# The processors on which an agent judged: one row for each change, not for each run.
agent_processors = sa.Table(
    "agent_processors",
    metadata,
    sa.Column("agent", sa.String, primary_key=True),
    sa.Column("since", UtcTime, primary_key=True),
    sa.Column("processor", sa.String, nullable=False),
)

gate_owners = sa.Table(
    "gate_owners",
    metadata,
    sa.Column("gate", sa.String, primary_key=True),
    sa.Column("agent", sa.String, nullable=False),
    sa.Column("identity", sa.String, nullable=False),
    sa.Column("session", sa.String, nullable=False),
    sa.Column("epoch", BIG, nullable=False),
    sa.Column("since", UtcTime, nullable=False),
    sa.Column("seen_at", UtcTime, nullable=False),
)

audit = sa.Table(
    "audit",
    metadata,
    _number("seq"),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("user_name", sa.String, nullable=False),  # `user` alone means something else to PostgreSQL
    sa.Column("object", sa.String, nullable=False),
    sa.Column("old_value", sa.String),
    sa.Column("new_value", sa.String),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("prev_hash", sa.String, nullable=False),
    sa.Column("hash", sa.String, nullable=False),
    sqlite_autoincrement=True,
)

# A person's word on a result. Every review is kept; the newest one of a result that was not undone counts.
reviews = sa.Table(
    "reviews",
    metadata,
    _number(),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("user_name", sa.String, nullable=False),
    sa.Column("result_id", sa.String, nullable=False, index=True),
    sa.Column("label", sa.String, nullable=False),
    sa.Column("comment", sa.String, nullable=False),
    sa.Column("kind", sa.String),  # of the defect, or of what was taken for one
    sa.Column("is_blind", sa.Boolean, nullable=False, server_default=sa.false()),  # said without the heat map
    sa.Column("undone_at", UtcTime),
    sa.Column("undone_by", sa.String),
    sa.Index("ix_reviews_label", "label"),
    sa.Index("ix_reviews_at", "at"),
)

# Work of minutes that a person has asked for in the console. `inspector worker` does it.
jobs = sa.Table(
    "jobs",
    metadata,
    _number(),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("request", JSON, nullable=False),
    sa.Column("asked_by", sa.String, nullable=False),
    sa.Column("asked_at", UtcTime, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("progress", JSON, nullable=False),
    sa.Column("result", JSON),
    sa.Column("detail", sa.String, nullable=False),
    sa.Column("worker", sa.String),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("started_at", UtcTime),
    sa.Column("heard_at", UtcTime),  # the worker's last sign of life
    sa.Column("ended_at", UtcTime),
    sa.Index("ix_jobs_state_id", "state", "id"),
    sqlite_autoincrement=True,
)

commands = sa.Table(
    "commands",
    metadata,
    _number(),
    sa.Column("cmd_id", sa.String, nullable=False),
    sa.Column("agent", sa.String, nullable=False),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("by_name", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("sent_at", UtcTime, nullable=False),
    sa.Column("received_at", UtcTime, nullable=False),
    _flag("is_obeyed"),
    sa.Column("detail", sa.String, nullable=False),
    sa.UniqueConstraint("cmd_id", "agent"),
)

holds = sa.Table(
    "holds",
    metadata,
    _number(),
    sa.Column("lot", sa.String),
    sa.Column("product", sa.String),
    sa.Column("result_id", sa.String),
    sa.Column("since", UtcTime),
    sa.Column("until", UtcTime),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("by_name", sa.String, nullable=False),
    sa.Column("held_at", UtcTime, nullable=False),
    sa.Column("released_at", UtcTime),
    sa.Column("released_by", sa.String),
)

# People who may use the console, and their sessions. A session is known by the SHA-256 of its token alone.
people = sa.Table(
    "people",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("role", sa.String, nullable=False),
    sa.Column("password_hash", sa.String, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("changed_at", UtcTime, nullable=False),
    _flag("is_locked"),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("token_sha256", sa.String, primary_key=True),
    sa.Column("person", sa.String, nullable=False),
    sa.Column("csrf", sa.String, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime, nullable=False),
    sa.Index("ix_sessions_person", "person"),
    sa.Index("ix_sessions_expires_at", "expires_at"),
)

# Results of each whole hour, counted once and kept after the rows are pruned: for shift sheets and yields.
hour_counts = sa.Table(
    "hour_counts",
    metadata,
    _number(),
    sa.Column("hour", sa.String, nullable=False),  # its beginning, UTC, for example 2025-03-01T06
    sa.Column("camera", sa.String, nullable=False),
    sa.Column("product", sa.String),
    sa.Column("product_version", sa.Integer),
    sa.Column("outcome", sa.String, nullable=False),
    sa.Column("cause", sa.String, nullable=False),
    sa.Column("action", sa.String, nullable=False),
    _flag("is_first"),
    sa.Column("results", BIG, nullable=False),
    sa.Index("ix_hour_counts_hour", "hour"),
)

# The hours that `hour_counts` has whole, also those in which nothing came.
counted_hours = sa.Table(
    "counted_hours",
    metadata,
    sa.Column("hour", sa.String, primary_key=True),
    sa.Column("counted_at", UtcTime, nullable=False),
)
