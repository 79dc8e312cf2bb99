"""Says in the database once a second that this agent lives, so that a console tells a dead agent within seconds."""

from __future__ import annotations

import contextlib
from typing import Final

from inspector.config.config import Config
from inspector.errors import InspectorError
from inspector.ports import Clock
from inspector.store.console.agents import SeenAgent, note_alive
from inspector.store.database import Database

EVERY_S: Final = 1.0


async def watch_presence(database: Database, config: Config, software: str, clock: Clock) -> None:
    """Runs until it is cancelled. Where the database takes nothing, nothing is said: no line ends for that."""
    started_at, digest = clock.now(), config.digest
    while True:
        agent = SeenAgent(config.agent.name, software, started_at, clock.now())
        with contextlib.suppress(InspectorError):
            await note_alive(database, agent, digest)
        await clock.sleep(EVERY_S)
