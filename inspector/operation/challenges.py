"""Golden challenges, read for people."""

from __future__ import annotations

from inspector.config.config import Config
from inspector.domain import Challenge
from inspector.errors import UsageError
from inspector.operation.opening import database_of
from inspector.store.ledger.challenges import list_challenges


async def newest_challenges(config: Config, gate: str | None, limit: int) -> list[Challenge]:
    """The newest `limit` challenges of a gate (or of all), newest first. Raises UsageError for a gate that is
    neither configured nor stored."""
    async with database_of(config) as database:
        found = await list_challenges(database, gate, limit=limit)
    names = [section.name for section in config.gate]
    if not found and gate is not None and gate not in names:
        raise UsageError(f"There is no gate {gate!r} in the configuration, only {', '.join(names) or 'none'}.")
    return found
