"""`inspector demo`: a whole production line on this machine, with a live table and a summary."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inspector.cli.terminal import console

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
    as_json: console.JsonOption = False,
) -> None:
    from inspector.cli.terminal.demo_view import TerminalDisplay, print_run
    from inspector.demo.run import DemoRequest, run_demo
    from inspector.lifetime import run_to_end

    request = DemoRequest(frames=frames, rate_fps=rate, train=train, folder=state)
    run = run_to_end(run_demo(request, TerminalDisplay(is_quiet=as_json)))
    if as_json:
        console.print_json(_document(run))
    else:
        print_run(run)


def _document(run: DemoRun) -> dict[str, Any]:
    document = dataclasses.asdict(run.summary)
    del document["counts"]
    return {**document, "database": str(run.database), "broker": run.broker}
