"""`inspector demo`: a whole production line on this machine, with a live table and a summary."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inspector.cli.terminal import console
from inspector.cli.terminal.escapes import shown

if TYPE_CHECKING:
    from inspector.demo.run import DemoRun

NAME = "demo"
HELP = "Show a production line on this machine: broker, cameras, agent, store, real images."
EXAMPLE = "Example: inspector demo --frames 200"


def command(
    frames: Annotated[int, typer.Option(min=4, max=100_000, help="Frames that the two cameras show.")] = 400,
    rate: Annotated[
        float, typer.Option(min=0.5, max=500, help="Highest rate in frames a second, both cameras together.")
    ] = 16,
    train: Annotated[int, typer.Option(min=20, max=400, help="Good cells each product is enrolled from.")] = 120,
    state: Annotated[
        Path | None, typer.Option(help="Folder for the demo's files; an earlier demo there is replaced.")
    ] = None,
    no_console: Annotated[
        bool, typer.Option("--no-console", help="End after the summary; else a terminal gets a web console over it.")
    ] = False,
    as_json: console.JsonOption = False,
) -> None:
    from inspector.cli.terminal.demo_view import TerminalDisplay, print_run
    from inspector.demo.run import DemoRequest, run_demo
    from inspector.lifetime import run_to_end

    request = DemoRequest(frames=frames, rate_fps=rate, train=train, folder=state)
    run = run_to_end(run_demo(request, TerminalDisplay(is_quiet=as_json)))
    if as_json:
        console.print_json(_document(run))
        return
    print_run(run)
    if not no_console and console.out.is_terminal:
        _serve_console(run)


def _serve_console(run: DemoRun) -> None:
    """A console over what the demo has made, until Ctrl-C."""
    from inspector.config.loading import load
    from inspector.console import serving
    from inspector.errors import StateUnusable
    from inspector.lifetime import run_to_end

    config = load(run.config)
    password = run_to_end(serving.first_password(config))

    def say(address: str) -> None:
        console.out.print(f"\nLook at it in a browser: [bold]{shown(address)}[/]", highlight=False, soft_wrap=True)
        console.out.print(
            f"Sign in as [bold]{shown(serving.FIRST_PERSON)}[/] with the password [bold]{shown(password or '')}[/]. "
            "Ctrl-C ends the console.",
            highlight=False,
            soft_wrap=True,
        )

    try:
        run_to_end(serving.serve(config, say))
    except StateUnusable:  # another console has the usual port
        section = config.console.model_copy(update={"listen": "127.0.0.1:0"})
        run_to_end(serving.serve(config.model_copy(update={"console": section}), say))


def _document(run: DemoRun) -> dict[str, Any]:
    document = dataclasses.asdict(run.summary)
    del document["counts"]
    return {**document, "database": str(run.database), "broker": run.broker}
