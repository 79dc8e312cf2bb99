"""`inspector audit`: who changed what, when and why, and whether nobody has changed that record."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from inspector.cli.results import since_time
from inspector.cli.terminal import console

if TYPE_CHECKING:
    from inspector.store.stored_records import AuditEntry

NAME: Final = "audit"
HELP: Final = "Show who changed what, when and why, and check that the record is whole."

app = typer.Typer(no_args_is_help=True, epilog="Example: inspector audit list --about product/bottle")


@app.command("list", epilog="Example: inspector audit list --about product/bottle --since 7d")
def list_(
    *,
    about: Annotated[
        str | None, typer.Option(help="Only of this object, or below it: product/bottle, gate/gate1, result/ID.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="Only changes by this person.")] = None,
    since: Annotated[str | None, typer.Option(help="An age (30m, 1h, 2d) or a time (2025-03-01T06:00).")] = None,
    until: Annotated[str | None, typer.Option(help="An age or a time; changes before it.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Highest number of entries.")] = 50,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """The newest changes, newest first."""
    from inspector.cli.terminal.rendering import ABSENT, local_time, show, table
    from inspector.config.loading import load
    from inspector.operation.records import newest_entries
    from inspector.store.audit import AuditFilter

    now = datetime.now(UTC)
    begin = since_time(since, now) if since else None
    end = since_time(until, now, "--until") if until else None
    entries = asyncio.run(newest_entries(load(config), AuditFilter(user, about, begin, end), limit))
    if as_json:
        console.print_json([_document(entry) for entry in entries])
        return
    if not entries:
        console.out.print("There is no entry like that.", highlight=False)
        return
    made = table("No", "Time", "By", "What", "Before", "After", "Why", right=("No",))
    for entry in entries:
        changed = (entry.old or ABSENT, entry.new or ABSENT, entry.reason or ABSENT)
        made.add_row(str(entry.seq), local_time(entry.at), entry.user, entry.object, *changed)
    show(made)


@app.command(epilog="Example: inspector audit verify")
def verify(config: console.ConfigOption = None, as_json: console.JsonOption = False) -> None:
    """Check the chain of hashes over all entries: a changed or removed entry breaks it.

    The end of the chain can be cut off without a break; keep the last hash elsewhere to tell that too.
    """
    from inspector.config.loading import load
    from inspector.operation.records import check_chain

    chain = asyncio.run(check_chain(load(config)))
    if as_json:
        console.print_json(
            {"entries": chain.entries, "holds": chain.holds, "broken": list(chain.broken), "last_hash": chain.last_hash}
        )
    elif chain.holds:
        line = f"The chain holds over {chain.entries} entries; its last hash is {chain.last_hash}."
        console.out.print(line, highlight=False, soft_wrap=True)
    else:
        numbers = ", ".join(map(str, chain.broken[:20])) + (" and others" if len(chain.broken) > 20 else "")
        console.out.print(
            f"The chain is broken at {numbers}: what stands there, or what stood before it, was changed or removed. "
            "Compare with a backup.",
            style="red",
            highlight=False,
            soft_wrap=True,
        )
    if not chain.holds:
        raise typer.Exit(1)


def _document(entry: AuditEntry) -> dict[str, Any]:
    from inspector.stream.verdict_record import format_time

    return {
        "seq": entry.seq,
        "at": format_time(entry.at),
        "user": entry.user,
        "object": entry.object,
        "old": entry.old,
        "new": entry.new,
        "reason": entry.reason,
        "prev_hash": entry.prev_hash,
        "hash": entry.hash,
    }
