"""Says in the database once a second that this agent lives, so that a console tells a dead agent within seconds.

An agent that is ended in order says that too: nobody has to look for one that a person has stopped.
"""

from __future__ import annotations

import contextlib
from typing import Final

from inspector.agent.process_figures import processor_name
from inspector.config.config import Config
from inspector.errors import InspectorError
from inspector.ports import Clock
from inspector.store.console.agents import SeenAgent, note_alive, note_ended, note_processor
from inspector.store.database import Database

EVERY_S: Final = 1.0


async def watch_presence(database: Database, config: Config, software: str, clock: Clock) -> None:
    """Runs until it is cancelled. Where the database takes nothing, nothing is said: no line ends for that.

    The processor is said once in a run, for whoever judges a frame of this run again.
    """
    started_at, digest, is_noted = clock.now(), config.digest, False
    while True:
        agent = SeenAgent(config.agent.name, software, started_at, clock.now())
        with contextlib.suppress(InspectorError):
            await note_alive(database, agent, digest)
            if not is_noted:
                await note_processor(database, config.agent.name, started_at, processor_name())
                is_noted = True
        await clock.sleep(EVERY_S)


async def end_presence(database: Database, config: Config, clock: Clock, by: str) -> None:
    """Say that this agent has ended in order, after its last sign. `by`: what asked for it, "" if nothing did."""
    with contextlib.suppress(InspectorError):
        await note_ended(database, config.agent.name, clock.now(), by)
