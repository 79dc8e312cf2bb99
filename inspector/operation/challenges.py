"""Golden challenges, read for people."""

from __future__ import annotations

from inspector.config.config import Config
from inspector.domain import Challenge
from inspector.operation.opening import database_of
from inspector.store.ledger.challenges import list_challenges


async def newest_challenges(config: Config, gate: str | None, limit: int) -> list[Challenge]:
    """The newest `limit` challenges of a gate (or of all), newest first."""
    async with database_of(config) as database:
        return await list_challenges(database, gate, limit=limit)
