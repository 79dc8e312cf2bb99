"""`inspector run`: the daemon."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from inspector.cli.terminal import console

NAME = "run"
HELP = "Run the agent until SIGTERM: frames in, verdicts out, rows in the store."
EXAMPLE = "Example: inspector run --config /etc/inspector/inspector.toml"


class LogLevel(enum.StrEnum):
    """The lowest severity that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def command(
    config: console.ConfigOption = None,
    log_level: Annotated[
        LogLevel, typer.Option(case_sensitive=False, help="Log this severity and worse.")
    ] = LogLevel.INFO,
    log_json: Annotated[bool, typer.Option("--log-json", help="Log lines as JSON.")] = False,
) -> None:
    import structlog

    from inspector.agent.serve import serve
    from inspector.agent.telemetry import configure_logging
    from inspector.config.loading import load

    loaded = load(config)
    configure_logging(log_level.value, log_json)
    if not loaded.camera:
        structlog.get_logger().warning("no_camera", detail="none is configured: nothing will be judged; see `init`")
    serve(loaded)
