"""The reason that a person gives for a change: it stands in the audit, so that it may not be empty."""

from __future__ import annotations

from inspector.errors import UsageError


def ensure_reason(reason: str, change: str) -> None:
    """Raises UsageError where the reason is empty; `change` begins the sentence, for example "A rollback"."""
    if not reason.strip():
        raise UsageError(f"{change} needs its --reason: it stands in the audit, and an empty one says nothing.")
