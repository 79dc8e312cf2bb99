"""`inspector db`: the database's tables, upgraded, checked, or relieved of what is old."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from inspector.cli import holds
from inspector.cli.terminal import console
from inspector.cli.terminal.escapes import shown

if TYPE_CHECKING:
    from inspector.config.config import Config
    from inspector.store.retention.retention import Pruned

NAME: Final = "db"
HELP: Final = "Upgrade, check or prune the database; hold what must be kept."

app = typer.Typer(no_args_is_help=True, epilog="Example: inspector db check")
app.add_typer(holds.app, name=holds.NAME, help=holds.HELP)


@app.command(epilog="Example: inspector db upgrade --config /etc/inspector/inspector.toml")
def upgrade(config: console.ConfigOption = None, as_json: console.JsonOption = False) -> None:
    """Bring the tables to what this software needs; makes them where there are none. Keeps all rows."""
    from inspector.config.loading import load

    before, after, where = asyncio.run(_upgrade(load(config)))
    if as_json:
        console.print_json({"database": where, "was": before, "revision": after})
    elif before == after:
        console.out.print(f"{where} is at revision {after} already.", highlight=False, markup=False, soft_wrap=True)
    else:
        was = f"was at revision {before}" if before else "had no tables"
        console.out.print(
            f"[green]Upgraded[/] {shown(where)}: it {shown(was)}, now it is at {shown(after)}.",
            highlight=False,
            soft_wrap=True,
        )


@app.command(epilog="Example: inspector db check --json")
def check(config: console.ConfigOption = None, as_json: console.JsonOption = False) -> None:
    """Say whether the tables fit this software; changes nothing. Exit code 1 where they don't."""
    from inspector.config.loading import load

    found = asyncio.run(_check(load(config)))
    if as_json:
        console.print_json(found)
    elif found["ok"]:
        console.out.print(
            f"[green]ok[/] {shown(found['database'])} is at revision {shown(found['revision'])}.",
            highlight=False,
            soft_wrap=True,
        )
    else:
        console.err.print(found["detail"], style="red", highlight=False, markup=False, soft_wrap=True)
    if not found["ok"]:
        raise typer.Exit(1)


@app.command(epilog="Example: inspector db prune --dry-run")
def prune(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; take nothing out.")] = False,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Take out rows and pictures older than the rules of the section retention say, but for what is held.

    Works beside running agents, in short transactions. They do the same by themselves every retention.every_h.
    """
    from inspector.config.loading import load

    loaded = load(config)
    pruned = asyncio.run(_prune(loaded, dry_run, as_json))
    if as_json:
        console.print_json({"dry_run": dry_run, "rules": [_pruned_document(each) for each in pruned]})
    else:
        _print_pruned(pruned, dry_run)


def _pruned_document(pruned: Pruned) -> dict[str, Any]:
    from inspector.stream.record import format_time

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
    made = table("rule", "older than", taken, "held", right=(taken, "held"))
    for each in pruned:
        made.add_row(each.rule, local_time(each.before), str(each.taken), str(each.held))
    show(made)


async def _prune(config: Config, dry_run: bool, quiet: bool) -> list[Pruned]:
    from inspector.agent.clock import SystemClock
    from inspector.cli.terminal.opening import database_of
    from inspector.store.retention import pictures as picture_retention
    from inspector.store.retention import retention

    clock, section = SystemClock(), config.retention
    async with database_of(config) as database:
        with console.progress("prune", quiet) as report:
            pruned = await retention.prune(database, clock, section, dry_run=dry_run, report=report)
            return pruned + await picture_retention.prune_pictures(
                database, clock, config.agent.state_dir, section, dry_run=dry_run, report=report
            )


async def _upgrade(config: Config) -> tuple[str | None, str | None, str]:
    from inspector.cli.terminal.opening import has_file, shown_url
    from inspector.store import database as databases
    from inspector.store.database import configured

    async with configured(config) as database:
        before = await database.revision() if has_file(database) else None
        await databases.upgrade(database)
        return before, await database.revision(), shown_url(database)


async def _check(config: Config) -> dict[str, Any]:
    from inspector.cli.terminal.opening import has_file, shown_url
    from inspector.errors import SchemaOutdated
    from inspector.store.database import configured

    async with configured(config) as database:
        found: dict[str, Any] = {"database": shown_url(database), "revision": None, "ok": False, "detail": None}
        if not has_file(database):  # opening it would make it
            return found | {"detail": f"There is no database {database.path} yet; run `inspector db upgrade`."}
        found["revision"] = await database.revision()
        try:
            await database.check_schema()
        except SchemaOutdated as error:
            return found | {"detail": str(error)}
        return found | {"ok": True}
