"""`inspector worker`: does the long jobs of the console."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Annotated, Final

import typer

from inspector.cli.run import LogLevel
from inspector.cli.terminal import console

if TYPE_CHECKING:
    from inspector.config.config import Config

NAME: Final = "worker"
HELP: Final = """Do the long jobs that people ask for in the console, such as an enrolment, until SIGTERM.

One job at a time, the oldest first, at the lowest priority. A worker that is stopped puts its job back into the queue;
the job of one that was killed is taken again after a minute, and after two such ends it has failed."""
EXAMPLE: Final = "Example: inspector worker --config /etc/inspector/inspector.toml"


def command(
    once: Annotated[bool, typer.Option("--once", help="Do the jobs that wait now, then end.")] = False,
    config: console.ConfigOption = None,
    log_level: Annotated[
        LogLevel, typer.Option(case_sensitive=False, help="Log this severity and worse.")
    ] = LogLevel.INFO,
    log_json: Annotated[bool, typer.Option("--log-json", help="Log lines as JSON.")] = False,
) -> None:
    from inspector.agent.telemetry import configure_logging
    from inspector.config.loading import load

    loaded = load(config)
    configure_logging(log_level.value, log_json)
    asyncio.run(_until_told(loaded, once))


async def _until_told(config: Config, once: bool) -> None:
    from inspector.enrolment.worker import work

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await work(config, stop, until_idle=once)
