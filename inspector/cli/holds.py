"""`inspector db hold`: what must be kept, however old it is."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from inspector.cli.results import since_time
from inspector.cli.terminal import console

if TYPE_CHECKING:
    from inspector.config.config import Config
    from inspector.store.retention.holds import Hold, Selection

NAME: Final = "hold"
HELP: Final = "Keep a lot, a product or a time from being pruned until it is released."

app = typer.Typer(no_args_is_help=True, epilog='Example: inspector db hold add --lot L2291 --reason "complaint 4711"')

ReasonOption = Annotated[str, typer.Option(help="Why; stands in the audit.")]


@app.command(epilog='Example: inspector db hold add --lot L2291 --reason "complaint 4711"')
def add(
    *,
    lot: Annotated[str | None, typer.Option(help="Results of this lot.")] = None,
    product: Annotated[str | None, typer.Option(help="Results of this product.")] = None,
    result: Annotated[str | None, typer.Option(metavar="ID", help="This one result, by its whole id.")] = None,
    since: Annotated[str | None, typer.Option(help="Received from then on: an age (2d) or a time.")] = None,
    until: Annotated[str | None, typer.Option(help="Received before then: an age (1d) or a time.")] = None,
    reason: ReasonOption,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Hold what all the options given name, with its decisions, reports, events and pictures."""
    from inspector.config.loading import load
    from inspector.store.retention.holds import Selection

    now = datetime.now(UTC)
    ends = [
        since_time(text, now, option) if text else None for text, option in ((since, "--since"), (until, "--until"))
    ]
    hold, keeps_any = asyncio.run(_add(load(config), Selection(lot, product, result, *ends), reason))
    if as_json:
        console.print_json(_document(hold))
    else:
        console.out.print(f"Hold {hold.number} keeps {hold.selection}.", highlight=False, markup=False, soft_wrap=True)
    if not keeps_any:
        is_over = hold.selection.until is not None and hold.selection.until <= now
        what = "its time is over" if is_over else "it keeps what comes like it"
        console.err.print(
            f"No result is like that now; {what}. If that is a mistake: inspector db hold release {hold.number}",
            style="yellow",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


@app.command("list", epilog="Example: inspector db hold list --all")
def list_(
    *,
    with_released: Annotated[bool, typer.Option("--all", help="Those released too.")] = False,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """The holds that are of effect."""
    from inspector.config.loading import load

    found = asyncio.run(_listed(load(config), with_released))
    if as_json:
        console.print_json([_document(hold) for hold in found])
    else:
        _print(found)


@app.command(epilog='Example: inspector db hold release 3 --reason "complaint settled"')
def release(
    number: Annotated[int, typer.Argument(metavar="HOLD", help="Its number, as `hold list` shows it.")],
    *,
    reason: ReasonOption,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """End a hold; the rules count again for what it kept."""
    from inspector.config.loading import load

    hold = asyncio.run(_release(load(config), number, reason))
    if as_json:
        console.print_json(_document(hold))
    else:
        console.out.print(f"Released hold {number}: {hold.selection}.", highlight=False, markup=False, soft_wrap=True)


async def _add(config: Config, selection: Selection, reason: str) -> tuple[Hold, bool]:
    from inspector.agent.clock import SystemClock
    from inspector.cli.terminal.opening import database_of
    from inspector.store.retention import holds

    async with database_of(config) as database:
        hold = await holds.add(database, SystemClock(), selection, by=console.user(), reason=reason)
        return hold, await holds.keeps_any(database, hold)


async def _listed(config: Config, with_released: bool) -> list[Hold]:
    from inspector.cli.terminal.opening import database_of
    from inspector.store.retention import holds

    async with database_of(config) as database:
        return await holds.listed(database, with_released=with_released)


async def _release(config: Config, number: int, reason: str) -> Hold:
    from inspector.agent.clock import SystemClock
    from inspector.cli.terminal.opening import database_of
    from inspector.store.retention import holds

    async with database_of(config) as database:
        return await holds.release(database, SystemClock(), number, by=console.user(), reason=reason)


def _document(hold: Hold) -> dict[str, Any]:
    from inspector.stream.record import plain

    chosen = hold.selection
    return {
        "hold": hold.number,
        "lot": chosen.lot,
        "product": chosen.product,
        "result_id": chosen.result_id,
        "since": plain(chosen.since),
        "until": plain(chosen.until),
        "reason": hold.reason,
        "by": hold.by,
        "held_at": plain(hold.held_at),
        "released_at": plain(hold.released_at),
        "released_by": hold.released_by,
    }


def _print(found: list[Hold]) -> None:
    from inspector.cli.terminal.rendering import ABSENT, local_time, show, table

    if not found:
        console.out.print("Nothing is held.")
        return
    made = table("hold", "keeps", "since when", "by", "released", "reason", right=("hold",))
    for hold in found:
        released = f"{local_time(hold.released_at)} {hold.released_by}" if hold.released_at else ABSENT
        cells = (str(hold.number), str(hold.selection), local_time(hold.held_at), hold.by, released, hold.reason)
        made.add_row(*cells)
    show(made)
