"""`inspector audit`: who changed what, when and why, and whether nobody has changed that record."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from inspector.cli.results import since_time
from inspector.cli.terminal import console
from inspector.cli.terminal.escapes import shown

if TYPE_CHECKING:
    from inspector.operation.records import ChainCheck
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


@app.command(epilog="Example: inspector audit head /media/usb/line1-head.json")
def head(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Where to write it; else it is printed.")] = None,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Show the end of the chain, or write it into a file: the number of entries and the last one's hash.

    Keep the file where those who write to the database can't change it. `audit verify --head FILE` then finds what was
    cut off or rewritten since.
    """
    from inspector.config.loading import load
    from inspector.operation.records import chain_head
    from inspector.store.audit_heads import head_document, write_head

    found = asyncio.run(chain_head(load(config)))
    if file is not None:
        write_head(file, found)
    if as_json:
        console.print_json(head_document(found))
        return
    line = f"{found.entries} entries, the last {found.seq}: {found.hash}"
    console.out.print(line if file is None else f"{line}, written to {shown(file)}", highlight=False, soft_wrap=True)


@app.command(epilog="Example: inspector audit verify --head /media/usb/line1-head.json")
def verify(
    head: Annotated[
        Path | None, typer.Option("--head", metavar="FILE", help="An earlier head, by `inspector audit head FILE`.")
    ] = None,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Check the chain over all entries: a changed or removed entry breaks it. Exit code 1 where it does not hold.

    The end of the chain can be cut off without a break, and who has no key to fear can make a whole new chain: --head
    finds both.
    """
    from inspector.config.loading import load
    from inspector.operation.records import check_chain
    from inspector.store.audit_heads import read_head

    chain = asyncio.run(check_chain(load(config), None if head is None else read_head(head)))
    if as_json:
        console.print_json(_check_document(chain))
    elif chain.holds:
        line = f"The chain holds over {chain.head.entries} entries; its last hash is {chain.head.hash}."
        console.out.print(line, highlight=False, soft_wrap=True)
    for fault in _faults(chain) if not as_json else ():
        console.out.print(shown(fault), style="red", highlight=False, soft_wrap=True)
    if chain.state.unchecked and not as_json:
        line = f"{chain.state.unchecked} entries are sealed with a key that is not here: only their order is checked."
        console.out.print(line, style="yellow", highlight=False, soft_wrap=True)
    if not chain.holds:
        raise typer.Exit(1)


def _faults(chain: ChainCheck) -> Iterator[str]:
    broken = chain.state.broken
    if broken:
        numbers = ", ".join(map(str, broken[:20])) + (" and others" if len(broken) > 20 else "")
        yield (
            f"The chain is broken at {numbers}: what stands there, or what stood before it, was changed or removed. "
            "Compare with a backup."
        )
    if chain.state.is_unsealed:
        yield (
            "There is a key, and no entry is sealed with it: no agent has run since, or somebody made a new chain or "
            "removed all entries. "
            "Compare with an earlier head or a backup."
        )
    if chain.missing is not None:
        yield f"It is not the chain of the earlier head: {chain.missing}. Compare with a backup."


def _check_document(chain: ChainCheck) -> dict[str, Any]:
    return {
        "entries": chain.head.entries,
        "holds": chain.holds,
        "broken": list(chain.state.broken),
        "last_hash": chain.head.hash,
        "sealed": chain.head.is_sealed,
        "unchecked": chain.state.unchecked,
        "faults": list(_faults(chain)),
    }


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
