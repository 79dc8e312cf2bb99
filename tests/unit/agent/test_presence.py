"""An agent says that it lives, and goes on living where nobody listens."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from inspector.agent.presence import EVERY_S, watch_presence
from inspector.config.loading import parse
from inspector.store.console.agents import list_agents
from inspector.store.database import Database, ensure_schema
from inspector.testing.clock import START


class ThreeTurns:
    """A clock that ends the test after three pauses."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def now(self) -> datetime:
        return START + timedelta(seconds=sum(self.pauses))

    def monotonic_ns(self) -> int:
        return 0

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if len(self.pauses) == 3:
            raise asyncio.CancelledError


async def test_presence_is_written_again_and_again(tmp_path: Path) -> None:
    clock = ThreeTurns()
    config = parse({"agent": {"name": "line1"}}, None)
    async with Database(f"sqlite:///{tmp_path / 'a.db'}") as database:
        await ensure_schema(database)
        with pytest.raises(asyncio.CancelledError):
            await watch_presence(database, config, "inspector 1", clock)
        (agent,) = await list_agents(database)
    assert (agent.name, agent.started_at) == ("line1", START)
    assert agent.seen_at == START + timedelta(seconds=2 * EVERY_S)


async def test_presence_without_a_database_ends_nothing(tmp_path: Path) -> None:
    clock = ThreeTurns()
    async with Database(f"sqlite:///{tmp_path / 'no' / 'a.db'}") as database:
        with pytest.raises(asyncio.CancelledError):
            await watch_presence(database, parse({}, None), "inspector 1", clock)
    assert len(clock.pauses) == 3
