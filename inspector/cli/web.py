"""`inspector console`: the web console."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, Final

import typer

from inspector.cli.terminal import console
from inspector.cli.terminal.escapes import shown

NAME: Final = "console"
HELP: Final = """Serve the web console: the line live, parts, reviews, products, shift sheets.

It listens on this machine only, unless console.listen says otherwise. At its first start on a terminal it makes a first
person, engineer, and shows the password once; the page People adds others."""
EXAMPLE: Final = "Example: inspector console --config /etc/inspector/inspector.toml"


def command(
    *,
    new_password: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Make a new password for this person, print it, and serve nothing."),
    ] = None,
    config: console.ConfigOption = None,
    log_json: Annotated[bool, typer.Option("--log-json", help="Log lines as JSON.")] = False,
) -> None:
    from inspector.agent.telemetry import configure_logging
    from inspector.config.loading import load
    from inspector.console import serving
    from inspector.operation.user import current_user

    loaded = load(config)
    if new_password is not None:
        made = asyncio.run(serving.new_password(loaded, new_password, by=current_user()))
        console.out.print(shown(made), highlight=False)
        return
    configure_logging("info", log_json)
    if sys.stderr.isatty() and (first := asyncio.run(serving.first_password(loaded))) is not None:
        _say_first(first)
    asyncio.run(serving.serve(loaded, lambda address: _say(f"The console is at {address}")))


def _say_first(password: str) -> None:
    from inspector.console.serving import FIRST_PERSON

    _say(f"Nobody could sign in yet. Sign in as {FIRST_PERSON} with the password {password}; it is shown this once.")


def _say(sentence: str) -> None:
    console.err.print(shown(sentence), highlight=False, soft_wrap=True)
