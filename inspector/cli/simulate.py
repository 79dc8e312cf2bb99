"""`inspector simulate`: a camera made of files."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from inspector.cli.terminal import console

if TYPE_CHECKING:
    from inspector.demo.simulated_camera import Shooting, Tally
    from inspector.demo.simulation import Simulation

NAME: Final = "simulate"
HELP: Final = "A camera made of files: publish a folder's images at a steady rate, marked as simulated."
EXAMPLE: Final = "Example: inspector simulate bottles/ --to mqtt://127.0.0.1:1883 --camera cam1 --rate 5 --loop"


def command(
    *,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder of JPEG and PNG files, with the folders below it.")
    ],
    to: Annotated[
        str | None, typer.Option(help="mqtt://host:port, mqtts:// for TLS, or kafka://; else as configured.")
    ] = None,
    camera: Annotated[str, typer.Option(help="Name of the camera, as configured where it is.")],
    rate: Annotated[float, typer.Option(min=0.001, max=10_000, help="Frames a second.")],
    count: Annotated[int | None, typer.Option(min=1, help="Number of frames; else each file once.")] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Begin again after the last file.")] = False,
    as_live: Annotated[
        bool, typer.Option("--as-live", help="Frames count as real parts: the gate acts on them.")
    ] = False,
    topic: Annotated[str | None, typer.Option(help="Topic to publish on; else the camera's own.")] = None,
    trigger_start: Annotated[
        int | None, typer.Option(min=0, help="First trigger id; else the time of day in milliseconds.")
    ] = None,
    no_triggers: Annotated[bool, typer.Option("--no-triggers", help="Frames carry no trigger id.")] = False,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    from inspector.agent.telemetry import configure_logging
    from inspector.config.loading import load
    from inspector.demo.simulation import SimulationRequest, plan_simulation

    request = SimulationRequest(
        folder=folder,
        camera=camera,
        rate_fps=rate,
        address=to,
        count=count,
        is_looping=loop,
        is_live=as_live,
        topic=topic,
        trigger_start=trigger_start,
        has_triggers=not no_triggers,
    )
    simulation = plan_simulation(load(config), request)
    for warning in simulation.warnings:
        console.err.print(warning, style="yellow", highlight=False, markup=False, soft_wrap=True)
    configure_logging("error")  # the error at the end says why frames were not taken
    tally = asyncio.run(_run_until_stopped(simulation, quiet=as_json))
    _print(simulation.shooting, tally, camera, as_json)


async def _run_until_stopped(simulation: Simulation, *, quiet: bool) -> Tally:
    """Ends after the last frame, or early on SIGINT or SIGTERM."""
    from inspector.demo.simulation import run_simulation

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    total = simulation.shooting.total
    with console.progress("Showing", quiet=quiet or total is None) as tell:
        return await run_simulation(simulation, stop, lambda sent: tell("frames", sent, total or 0))


def _print(shooting: Shooting, tally: Tally, camera: str, as_json: bool) -> None:
    p50, p99 = tally.answer_ms(0.5), tally.answer_ms(0.99)
    if as_json:
        document = {"camera": camera, "topic": shooting.topic, "simulated": not shooting.is_live, "sent": tally.sent}
        rates = {"sent_again": tally.sent_again, "offered_fps": shooting.rate_fps, "achieved_fps": tally.achieved_fps}
        rest = {
            "seconds": tally.seconds,
            "first_trigger": shooting.trigger_start,
            "answer_ms": {"p50": p50, "p99": p99},
        }
        console.print_json(document | rates | rest)
        return
    from inspector.cli.terminal import rendering

    achieved = "" if tally.achieved_fps is None else f", {tally.achieved_fps:.4g} a second of {shooting.rate_fps:g}"
    mark = "as live parts" if shooting.is_live else "marked as simulated"
    lines = [("frames", f"{tally.sent}{achieved}, {mark}"), ("topic", shooting.topic)]
    if shooting.trigger_start is not None and tally.sent:
        lines.append(("first trigger", str(shooting.trigger_start)))
    if p50 is not None and p99 is not None:
        lines.append(("broker's answer", f"half within {p50:.1f} ms, 99 % within {p99:.1f} ms"))
    if tally.sent_again:
        lines.append(("sent again", f"{tally.sent_again}, after the broker was away"))
    rendering.show(rendering.facts(lines))
