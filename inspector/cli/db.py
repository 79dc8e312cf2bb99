"""`inspector db`: the database's tables, upgraded or checked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import typer

from inspector.cli import console

if TYPE_CHECKING:
    from inspector.config import Config

NAME: Final = "db"
HELP: Final = "Upgrade or check the database."

app = typer.Typer(no_args_is_help=True, epilog="Example: inspector db check")


@app.command(epilog="Example: inspector db upgrade --config /etc/inspector/inspector.toml")
def upgrade(config: console.ConfigOption = None, as_json: console.JsonOption = False) -> None:
    """Bring the tables to what this software needs; makes them where there are none. Keeps all rows."""
    from inspector.config import load

    before, after, where = asyncio.run(_upgrade(load(config)))
    if as_json:
        console.print_json({"database": where, "was": before, "revision": after})
    elif before == after:
        console.out.print(f"{where} is at revision {after} already.", highlight=False, soft_wrap=True)
    else:
        was = f"was at revision {before}" if before else "had no tables"
        console.out.print(
            f"[green]Upgraded[/] {where}: it {was}, now it is at {after}.", highlight=False, soft_wrap=True
        )


@app.command(epilog="Example: inspector db check --json")
def check(config: console.ConfigOption = None, as_json: console.JsonOption = False) -> None:
    """Say whether the tables fit this software; changes nothing. Exit code 1 where they don't."""
    from inspector.config import load

    found = asyncio.run(_check(load(config)))
    if as_json:
        console.print_json(found)
    elif found["ok"]:
        console.out.print(
            f"[green]ok[/] {found['database']} is at revision {found['revision']}.", highlight=False, soft_wrap=True
        )
    else:
        console.err.print(found["detail"], style="red", highlight=False, markup=False, soft_wrap=True)
    if not found["ok"]:
        raise typer.Exit(1)


async def _upgrade(config: Config) -> tuple[str | None, str | None, str]:
    from inspector.cli.opening import has_file, shown_url
    from inspector.store import database as databases
    from inspector.store.database import configured

    async with configured(config) as database:
        before = await database.revision() if has_file(database) else None
        await databases.upgrade(database)
        return before, await database.revision(), shown_url(database)


async def _check(config: Config) -> dict[str, Any]:
    from inspector.cli.opening import has_file, shown_url
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
