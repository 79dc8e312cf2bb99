"""Serves the figures of an agent from before it opens its store until it has ended, if `metrics.listen` is set.

The client library is imported only then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from inspector import __version__
from inspector.agent.build import Agent
from inspector.agent.clock import SystemClock
from inspector.agent.metrics.server import PATH, MetricsServer, bound_socket
from inspector.agent.metrics.sources import View
from inspector.agent.telemetry import LogTelemetry
from inspector.config.config import Config
from inspector.domain import Event, Severity

if TYPE_CHECKING:
    from inspector.agent.metrics.exposition import Exposition

BEAT_S: Final = 1.0
VIEW_S: Final = 2.0


@contextlib.asynccontextmanager
async def served(config: Config, telemetry: LogTelemetry) -> AsyncIterator[Exposition | None]:
    """The exposition, which is served until the end of the block; None if nothing listens. Raises AddressUnusable."""
    address = config.metrics.address
    if address is None:
        yield None
        return
    from inspector.agent.metrics.exposition import CONTENT_TYPE, Exposition

    exposition = Exposition(config, __version__, telemetry)
    listening = await asyncio.to_thread(bound_socket, address)
    async with MetricsServer(listening, CONTENT_TYPE, exposition.pieces):
        beating = asyncio.create_task(_beat(exposition), name="metrics beat")
        detail = f"http://{address}{PATH}"
        if not address.is_loopback:
            detail += ", for all machines that reach it: there is no password and no encryption"
        telemetry.event(Event(SystemClock().now(), "metrics_served", Severity.INFO, config.agent.name, detail))
        try:
            yield exposition
        finally:
            beating.cancel()


async def show(exposition: Exposition, agent: Agent) -> None:
    """Show the agent to the exposition every `VIEW_S`, for ever."""
    while True:
        exposition.show(view_of(agent))
        await asyncio.sleep(VIEW_S)


def view_of(agent: Agent) -> View:
    """The agent as it is now. Call on its event loop."""
    told = agent.told
    return View(
        snapshot=agent.pipeline.snapshot(),
        links={name: is_up() for name, is_up in told.links.items()},
        records_unsent=sum(unsent() for unsent in told.unsent),
        pictures_skipped=told.pictures_skipped(),
        drifts=tuple((product, camera, drift.direction.value) for product, camera, drift in agent.drift_watch.found),
    )


async def _beat(exposition: Exposition) -> None:
    while True:
        exposition.beat()
        await asyncio.sleep(BEAT_S)
