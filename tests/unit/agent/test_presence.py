"""An agent says that it lives, and goes on living where nobody listens."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from inspector.agent import presence
from inspector.agent.presence import EVERY_S, end_presence, watch_presence
from inspector.config.loading import parse
from inspector.store import tables
from inspector.store.console.agents import list_agents, processor_at
from inspector.store.database import Database, ensure_schema
from inspector.testing.clock import START


class ThreeTurns:
    """A clock that ends the test after three pauses."""

    def __init__(self, start_s: float = 0.0) -> None:
        self.begin = START + timedelta(seconds=start_s)
        self.pauses: list[float] = []

    def now(self) -> datetime:
        return self.begin + timedelta(seconds=sum(self.pauses))

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


async def test_an_agent_that_was_ended_says_so_until_it_lives_again(tmp_path: Path) -> None:
    clock = ThreeTurns()
    config = parse({"agent": {"name": "line1"}}, None)
    async with Database(f"sqlite:///{tmp_path / 'a.db'}") as database:
        await ensure_schema(database)
        with pytest.raises(asyncio.CancelledError):
            await watch_presence(database, config, "inspector 1", clock)
        await end_presence(database, config, clock, "SIGTERM")
        (ended,) = await list_agents(database)
        clock.pauses = []
        with pytest.raises(asyncio.CancelledError):
            await watch_presence(database, config, "inspector 1", clock)
        (agent,) = await list_agents(database)
    assert (ended.ended_at, ended.ended_by) == (START + timedelta(seconds=3 * EVERY_S), "SIGTERM")
    assert (agent.ended_at, agent.ended_by) == (None, "")


async def test_processor_is_said_once_for_each_that_an_agent_runs_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = parse({"agent": {"name": "line1"}}, None)
    async with Database(f"sqlite:///{tmp_path / 'a.db'}") as database:
        await ensure_schema(database)
        for start, model in ((0, "A"), (10, "A"), (20, "B"), (30, "A")):
            monkeypatch.setattr(presence, "processor_name", lambda model=model: model)
            clock = ThreeTurns(start)
            with pytest.raises(asyncio.CancelledError):
                await watch_presence(database, config, "inspector 1", clock)
        wanted = {-1: None, 0: "A", 15: "A", 20: "B", 29: "B", 99: "A"}
        at = {second: START + timedelta(seconds=second) for second in wanted}
        assert {second: await processor_at(database, "line1", at[second]) for second in wanted} == wanted
        assert await processor_at(database, "another", at[99]) is None
        async with database.reading() as connection:
            kept = await connection.execute(sa.select(sa.func.count()).select_from(tables.agent_processors))
    assert kept.scalar_one() == 3


async def test_presence_without_a_database_ends_nothing(tmp_path: Path) -> None:
    clock = ThreeTurns()
    async with Database(f"sqlite:///{tmp_path / 'no' / 'a.db'}") as database:
        with pytest.raises(asyncio.CancelledError):
            await watch_presence(database, parse({}, None), "inspector 1", clock)
        await end_presence(database, parse({}, None), clock, "SIGTERM")
    assert len(clock.pauses) == 3
