"""`inspector db`: the database's tables upgraded, checked or pruned."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from inspector.cli import holds
from inspector.cli.terminal import console
from inspector.cli.terminal.escapes import shown

if TYPE_CHECKING:
    from inspector.store.retention.retention import Pruned

NAME: Final = "db"
HELP: Final = "Upgrade, check or prune the database; hold what must be kept."

app = typer.Typer(no_args_is_help=True, epilog="Example: inspector db check")
app.add_typer(holds.app, name=holds.NAME, help=holds.HELP)


@app.command(epilog="Example: inspector db upgrade --config /etc/inspector/inspector.toml")
def upgrade(config: console.ConfigOption = None, as_json: console.JsonOption = False) -> None:
    """Bring the tables to this software's revision; make them if there are none. All rows are kept."""
    from inspector.config.loading import load
    from inspector.operation.database_upkeep import upgrade_database

    done = asyncio.run(upgrade_database(load(config)))
    if as_json:
        console.print_json({"database": done.database, "was": done.before, "revision": done.revision})
    elif done.before == done.revision:
        line = f"{done.database} is at revision {done.revision} already."
        console.out.print(line, highlight=False, markup=False, soft_wrap=True)
    else:
        was = f"was at revision {done.before}" if done.before else "had no tables"
        line = f"[green]Upgraded[/] {shown(done.database)}: it {shown(was)}, now it is at {shown(done.revision)}."
        console.out.print(line, highlight=False, soft_wrap=True)


@app.command(epilog="Example: inspector db check --json")
def check(config: console.ConfigOption = None, as_json: console.JsonOption = False) -> None:
    """Say whether the tables fit this software; changes nothing. Exit code 1 where they don't."""
    from inspector.config.loading import load
    from inspector.operation.database_upkeep import check_database

    answer = asyncio.run(check_database(load(config)))
    is_ok = answer.fault is None
    if as_json:
        state = {"revision": answer.revision, "ok": is_ok, "detail": answer.fault}
        console.print_json({"database": answer.database} | state)
    elif is_ok:
        line = f"[green]ok[/] {shown(answer.database)} is at revision {shown(answer.revision)}."
        console.out.print(line, highlight=False, soft_wrap=True)
    else:
        console.err.print(answer.fault, style="red", highlight=False, markup=False, soft_wrap=True)
    if not is_ok:
        raise typer.Exit(1)


@app.command(epilog="Example: inspector db prune --dry-run")
def prune(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; take nothing out.")] = False,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Remove rows and pictures that are older than the section retention allows, except those that a hold keeps.

    Works beside running agents, in short transactions. They do the same by themselves every retention.every_h.
    """
    from inspector.config.loading import load
    from inspector.operation.database_upkeep import prune_database

    loaded = load(config)
    with console.progress("prune", quiet=as_json) as tell:
        pruned = asyncio.run(prune_database(loaded, dry_run=dry_run, progress=tell))
    if as_json:
        console.print_json({"dry_run": dry_run, "rules": [_pruned_document(rule) for rule in pruned]})
    else:
        _print_pruned(pruned, dry_run)


def _pruned_document(pruned: Pruned) -> dict[str, Any]:
    from inspector.stream.verdict_record import format_time

    return {
        "rule": pruned.rule,
        "before": format_time(pruned.before),
        "taken": pruned.taken,
        "held": pruned.held,
    }


def _print_pruned(pruned: list[Pruned], dry_run: bool) -> None:
    from inspector.cli.terminal.rendering import local_time, show, table

    if not pruned:
        console.out.print("No rule is set, so everything is kept; see the section retention of the configuration.")
        return
    taken = "would go" if dry_run else "taken out"
    rows = table("rule", "older than", taken, "held", right=(taken, "held"))
    for rule in pruned:
        rows.add_row(rule.rule, local_time(rule.before), str(rule.taken), str(rule.held))
    show(rows)
