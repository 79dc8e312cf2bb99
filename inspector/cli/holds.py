"""`inspector db hold`: results that must be kept however old they are."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from inspector.cli.results import since_time
from inspector.cli.terminal import console
from inspector.operation.user import current_user

if TYPE_CHECKING:
    from inspector.store.retention.holds import Hold

NAME: Final = "hold"
HELP: Final = "Keep a lot, a product or a time from being pruned until it is released."

app = typer.Typer(no_args_is_help=True, epilog='Example: inspector db hold add --lot L2291 --reason "complaint 4711"')

ReasonOption = Annotated[str, typer.Option(help="The reason; it is kept in the audit.")]


@app.command(epilog='Example: inspector db hold add --lot L2291 --reason "complaint 4711"')
def add(
    *,
    lot: Annotated[str | None, typer.Option(help="Results of this lot.")] = None,
    product: Annotated[str | None, typer.Option(help="Results of this product.")] = None,
    result: Annotated[str | None, typer.Option(metavar="ID", help="This one result, by its whole id.")] = None,
    since: Annotated[str | None, typer.Option(help="Results received from then on: an age (2d) or a time.")] = None,
    until: Annotated[str | None, typer.Option(help="Results received before then: an age (1d) or a time.")] = None,
    reason: ReasonOption,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Keep the results that match all the options, with their decisions, reports, events and pictures."""
    from inspector.config.loading import load
    from inspector.operation.holds import add_hold
    from inspector.store.retention.holds import Selection

    now = datetime.now(UTC)
    ends = [
        since_time(text, now, option) if text else None for text, option in ((since, "--since"), (until, "--until"))
    ]
    selection = Selection(lot, product, result, *ends)
    added = asyncio.run(add_hold(load(config), selection, by=current_user(), reason=reason))
    hold = added.hold
    if as_json:
        console.print_json(_document(hold))
    else:
        console.out.print(f"Hold {hold.number} keeps {hold.selection}.", highlight=False, markup=False, soft_wrap=True)
    if not added.keeps_any:
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
    with_released: Annotated[bool, typer.Option("--all", help="Also the released ones.")] = False,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """The holds in effect."""
    from inspector.config.loading import load
    from inspector.operation.holds import list_holds

    holds = asyncio.run(list_holds(load(config), with_released=with_released))
    if as_json:
        console.print_json([_document(hold) for hold in holds])
    else:
        _print(holds)


@app.command(epilog='Example: inspector db hold release 3 --reason "complaint settled"')
def release(
    number: Annotated[int, typer.Argument(metavar="HOLD", help="Its number, as `hold list` shows it.")],
    *,
    reason: ReasonOption,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """End a hold: the rules of retention apply again to what it kept."""
    from inspector.config.loading import load
    from inspector.operation.holds import release_hold

    hold = asyncio.run(release_hold(load(config), number, by=current_user(), reason=reason))
    if as_json:
        console.print_json(_document(hold))
    else:
        console.out.print(f"Released hold {number}: {hold.selection}.", highlight=False, markup=False, soft_wrap=True)


def _document(hold: Hold) -> dict[str, Any]:
    from inspector.stream.verdict_record import plain

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


def _print(holds: list[Hold]) -> None:
    from inspector.cli.terminal.rendering import ABSENT, local_time, show, table

    if not holds:
        console.out.print("Nothing is held.")
        return
    rows = table("hold", "keeps", "since when", "by", "released", "reason", right=("hold",))
    for hold in holds:
        released = f"{local_time(hold.released_at)} {hold.released_by}" if hold.released_at else ABSENT
        cells = (str(hold.number), str(hold.selection), local_time(hold.held_at), hold.by, released, hold.reason)
        rows.add_row(*cells)
    show(rows)
