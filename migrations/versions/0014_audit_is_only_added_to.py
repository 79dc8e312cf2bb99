"""The database itself refuses to change or remove rows of the audit."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

SENTENCE = "rows of the audit are never changed or removed"
TRIGGERS = ("audit_no_update", "audit_no_delete", "audit_no_replace")


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _guard_sqlite()
    else:
        _guard_postgresql()


def downgrade() -> None:
    """Drops what this revision added; the rows stay."""
    if op.get_bind().dialect.name == "sqlite":
        for name in TRIGGERS:
            op.execute(f"DROP TRIGGER {name}")
        return
    for name in ("audit_no_change", "audit_no_truncate"):
        op.execute(f"DROP TRIGGER {name} ON audit")
    op.execute("DROP FUNCTION audit_is_only_added_to()")


def _guard_sqlite() -> None:
    refuse = f"BEGIN SELECT RAISE(ABORT, '{SENTENCE}'); END"
    op.execute(f"CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit {refuse}")
    op.execute(f"CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit {refuse}")
    # INSERT OR REPLACE removes the row that is there without asking a trigger for removals.
    op.execute(
        "CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit "
        f"WHEN EXISTS (SELECT 1 FROM audit WHERE seq = NEW.seq) {refuse}"
    )


def _guard_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION audit_is_only_added_to() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{SENTENCE}' USING ERRCODE = 'insufficient_privilege'; END $$"
    )
    execute = "EXECUTE FUNCTION audit_is_only_added_to()"
    op.execute(f"CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit FOR EACH ROW {execute}")
    op.execute(f"CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit FOR EACH STATEMENT {execute}")
