"""The command line: typer commands, one file per command. All commands fail in the same way.

Nothing heavy is imported before a command runs: `inspector --help` needs neither torch nor a
database. An error that a person can correct is one sentence on standard error and an exit code. A
traceback is shown with `--debug` only.
"""

from __future__ import annotations

import sys

import typer

from inspector.cli import (
    audit,
    bench,
    capacity,
    contain,
    db,
    demo,
    discover,
    doctor,
    enroll,
    evaluate,
    events,
    golden,
    init,
    keys,
    parts,
    products,
    results,
    review,
    run,
    simulate,
    web,
    worker,
)
from inspector.cli.terminal import console, streams

app = typer.Typer(
    name="inspector",
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


for module in (
    demo,
    init,
    doctor,
    enroll,
    discover,
    evaluate,
    run,
    web,
    worker,
    simulate,
    parts,
    golden,
    review,
    contain,
    events,
    capacity,
):
    app.command(module.NAME, help=module.HELP, epilog=module.EXAMPLE)(module.command)
for group in (products, keys, results, audit, db, bench):
    app.add_typer(group.app, name=group.NAME, help=group.HELP)


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
