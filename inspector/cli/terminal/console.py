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
from typing import Annotated, Any, cast

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from inspector.cli.terminal import streams
from inspector.cli.terminal.escapes import SafeConsole
from inspector.text import escaped_json, visible

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
out = SafeConsole()
err = SafeConsole(stderr=True)


def print_json(document: Any) -> None:
    """The one JSON document of a command."""
    sys.stdout.write(escaped_json(json.dumps(document, indent=2, default=str)) + "\n")


def print_version(is_wanted: bool) -> None:
    """Prints the version and leaves, before typer asks for a command."""
    if is_wanted:
        from inspector import __version__

        typer.echo(f"inspector {__version__}")
        raise typer.Exit


@contextlib.contextmanager
def progress(title: str, quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """Yields `report(phase, done, total)`. A terminal shows bars; elsewhere only stalled work is reported."""
    from inspector.enrolment.keeping import WAITS_FOR_STORE
    from inspector.enrolment.low_priority import WAITING

    said: set[str] = set()

    def is_waiting(phase: str) -> bool:
        if phase not in (WAITING, WAITS_FOR_STORE):
            return False
        if phase not in said and not quiet:
            said.add(phase)
            err.print(f"{title} {phase}.", highlight=False, markup=False, soft_wrap=True)
        return True

    def silent(phase: str, _done: int, _total: int) -> None:
        is_waiting(phase)

    if quiet or not err.is_terminal:
        yield silent
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def report(phase: str, done: int, total: int) -> None:
            if is_waiting(phase):
                return
            if phase not in tasks:
                tasks[phase] = bars.add_task(visible(f"{title}: {phase}"), total=total)
            bars.update(tasks[phase], completed=done, total=total)

        yield report


def guarded(app: typer.Typer) -> int:
    """The exit code of the command. Every known failure is printed as one sentence.

    typer's own message reports wrong use, with the usage; the exit code is then 2.
    """
    from inspector.errors import ConfigError, InspectorError

    try:
        return int(app(standalone_mode=False) or 0)
    except typer.Abort:
        say_error("Aborted.")
        return 1
    except typer.TyperException as error:
        _say_wrong_use(error)
        return error.exit_code
    except ConfigError as error:
        if options.debug:
            raise
        where = f" {error.path}" if error.path else ""
        what = "can't be used" if error.path and not Path(error.path).is_file() else "is wrong"
        say_error(f"The configuration{where} {what}:")
        for fault in error.faults:
            err.print(f"  - {visible(fault)}", highlight=False, markup=False, soft_wrap=True)
        return error.exit_code
    except InspectorError as error:
        if options.debug:
            raise
        say_error(str(error))
        return error.exit_code
    except OSError as error:
        if options.debug:
            raise
        if streams.lost_output() is None:
            # Any failure that is not translated elsewhere: a folder that can't be written, a full disk.
            reason = error.strerror or str(error)
            what = f"{error.filename}: {reason}" if error.filename else reason
            say_error(f"The system refused: {what}.")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def say_error(sentence: str) -> None:
    """One line in red on standard error."""
    err.print(visible(sentence), style="red", highlight=False, markup=False, soft_wrap=True)


def _say_wrong_use(error: typer.TyperException) -> None:
    from typer import rich_utils

    error.message = visible(error.message)  # an argument may be a file's name that the shell put there
    rich_utils.rich_format_error(cast(Any, error))
