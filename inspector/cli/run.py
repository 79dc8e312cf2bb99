"""`inspector run`: the daemon."""

from __future__ import annotations

from typing import Annotated

import typer

from inspector.cli import console

NAME = "run"
HELP = "Run the agent until SIGTERM: frames in, verdicts out, rows in the store."
EXAMPLE = "Example: inspector run --config /etc/inspector/inspector.toml"


def command(
    config: console.ConfigOption = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
    log_json: Annotated[bool, typer.Option("--log-json", help="Log lines as JSON.")] = False,
) -> None:
    from inspector import app
    from inspector.config import load
    from inspector.telemetry import configure_logging

    loaded = load(config)
    configure_logging(log_level, log_json)
    app.serve(loaded)
