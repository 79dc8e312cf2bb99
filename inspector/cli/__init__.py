"""The command line: typer commands, one file per command. All commands fail in the same way.

Nothing heavy is imported before a command runs: `inspector --help` needs neither torch nor a
database. A command loads its own file alone, because an agent that starts again at a gate should not first build
the options of all others. An error that a person can correct is one sentence on standard error and an exit code. A
traceback is shown with `--debug` only.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import typer
from typer.core import TyperGroup

from inspector.cli.terminal import console, streams

FILES: Final[Mapping[str, str]] = {
    "demo": "demo",
    "init": "init",
    "doctor": "doctor",
    "enroll": "enroll",
    "discover": "discover",
    "evaluate": "evaluate",
    "run": "run",
    "console": "web",
    "worker": "worker",
    "simulate": "simulate",
    "parts": "parts",
    "golden": "golden",
    "review": "review",
    "contain": "contain",
    "events": "events",
    "capacity": "capacity",
    "products": "products",
    "keys": "keys",
    "results": "results",
    "audit": "audit",
    "db": "db",
    "bench": "bench",
}
"""The file of each command, in the order of the help."""


class Commands(Mapping[str, Any]):
    """What typer makes of each command, by its name. A file is loaded when its command is asked for."""

    def __getitem__(self, name: str) -> Any:
        if name not in FILES:
            raise KeyError(name)
        return _made(name)

    def __iter__(self) -> Iterator[str]:
        return iter(FILES)

    def __len__(self) -> int:
        return len(FILES)


class RootGroup(TyperGroup):
    """The command `inspector` with all others below it."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: Any = Commands()


@functools.cache
def _made(name: str) -> Any:
    """A command, or a group of them, of the file `inspector/cli/FILE.py`: its NAME, HELP, and `command` or `app`."""
    module = importlib.import_module(f"inspector.cli.{FILES[name]}")
    above = typer.Typer()
    above.callback()(lambda: None)
    if hasattr(module, "app"):
        above.add_typer(module.app, name=module.NAME, help=module.HELP)
    else:
        above.command(module.NAME, help=module.HELP, epilog=module.EXAMPLE)(module.command)
    group: Any = typer.main.get_command(above)
    return group.commands[name]


app = typer.Typer(
    name="inspector",
    cls=RootGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Inspects parts on a factory line: frames in from MQTT, verdicts and reject signals out.",
)


@app.callback()
def root(
    debug: bool = typer.Option(False, "--debug", help="Show a traceback where something fails."),
    version: bool = typer.Option(
        False, "--version", is_eager=True, callback=console.print_version, help="Print the version and stop."
    ),
) -> None:
    console.options.debug = debug
    del version  # an option that was answered already


def main() -> None:
    """Entry point: exit 0 on success, 2 on wrong use, 78 on a wrong configuration, 1 otherwise.

    Also 1 where the result could not be written to standard output; what the command changed stays.
    """
    streams.prepare()
    try:
        code = console.guarded(app)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    sys.exit(streams.finished(code))
