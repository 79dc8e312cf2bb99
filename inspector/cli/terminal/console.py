"""What all commands share: how they print, how they show progress, how they fail.

Results go to standard output, everything else to standard error. With `--json` nothing but one JSON
document is on standard output. Progress is shown on a terminal only.
"""

from __future__ import annotations

import contextlib
import getpass
import io
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
    """What was said before the command's name."""

    debug: bool = False


INTERRUPTED = 130

options = Options()
out = Console()
err = Console(stderr=True)


def print_json(document: Any) -> None:
    """The one JSON document of a command."""
    sys.stdout.write(json.dumps(document, indent=2, default=str) + "\n")


def print_version(is_wanted: bool) -> None:
    """Print it and leave, before typer asks for a command."""
    if is_wanted:
        from inspector import __version__

        typer.echo(f"inspector {__version__}")
        raise typer.Exit


def user() -> str:
    """Who is at the keyboard, for the audit."""
    from inspector.domain import printable

    try:
        return printable(getpass.getuser())
    except (KeyError, OSError):
        return "unknown"


@contextlib.contextmanager
def progress(title: str, quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """Yields `report(phase, done, total)`; draws bars on a terminal, elsewhere it says only that work stands still."""
    from inspector.enrolment.giving_way import WAITING

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
    """Run the command line and turn every known failure into one sentence and an exit code.

    Wrong use is typer's own to report: it prints the usage and leaves with exit code 2.
    """
    from inspector.errors import ConfigError, InspectorError

    _print_anything()
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
        # What no room foresaw: a folder that may not be written, a disk that is full.
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        err.print(f"The system refused: {what}.", style="red", highlight=False, markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _print_anything() -> None:
    """Names that the terminal's encoding can't take are escaped; they must not end a command whose work is done."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
