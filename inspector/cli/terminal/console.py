"""How all commands print, show progress and fail.

Results go to standard output, everything else to standard error. With `--json` standard output has one JSON document
and nothing else. Progress is shown on a terminal only.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Configuration file; else INSPECTOR_CONFIG, else ./inspector.toml."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


@dataclass
class Options:
    """Options that come before the command's name."""

    debug: bool = False


INTERRUPTED = 130

options = Options()
out = Console()
err = Console(stderr=True)


def print_json(document: Any) -> None:
    """The one JSON document of a command."""
    sys.stdout.write(json.dumps(document, indent=2, default=str) + "\n")


def print_version(is_wanted: bool) -> None:
    """Prints the version and leaves, before typer asks for a command."""
    if is_wanted:
        from inspector import __version__

        typer.echo(f"inspector {__version__}")
        raise typer.Exit


@contextlib.contextmanager
def progress(title: str, quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """Yields `report(phase, done, total)`. A terminal shows bars; elsewhere only work that stands still is reported."""
    from inspector.enrolment.low_priority import WAITING

    said = False

    def is_waiting(phase: str) -> bool:
        nonlocal said
        if phase == WAITING and not said and not quiet:
            said = True
            err.print(f"{title} {WAITING}.", highlight=False, soft_wrap=True)
        return phase == WAITING

    def silent(phase: str, _done: int, _total: int) -> None:
        is_waiting(phase)

    if quiet or not err.is_terminal:
        yield silent
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def report(phase: str, done: int, total: int) -> None:
            if is_waiting(phase):
                return
            if phase not in tasks:
                tasks[phase] = bars.add_task(f"{title}: {phase}", total=total)
            bars.update(tasks[phase], completed=done, total=total)

        yield report


def guarded(app: typer.Typer) -> int:
    """The exit code of the command. Every known failure is printed as one sentence.

    Typer itself reports wrong use: it prints the usage and leaves with exit code 2.
    """
    from inspector.errors import ConfigError, InspectorError

    try:
        app()
    except ConfigError as error:
        if options.debug:
            raise
        where = f" {error.path}" if error.path else ""
        what = "can't be used" if error.path and not Path(error.path).is_file() else "is wrong"
        err.print(f"[red]The configuration{escape(where)} {what}:[/]", highlight=False, soft_wrap=True)
        for fault in error.faults:
            err.print(f"  - {fault}", highlight=False, markup=False, soft_wrap=True)
        return error.exit_code
    except InspectorError as error:
        if options.debug:
            raise
        err.print(str(error), style="red", highlight=False, markup=False, soft_wrap=True)
        return error.exit_code
    except OSError as error:
        if options.debug:
            raise
        # Any failure that is not translated elsewhere: a folder that can't be written, a full disk.
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        err.print(f"The system refused: {what}.", style="red", highlight=False, markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0
