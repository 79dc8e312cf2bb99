"""`inspector parts`: every part of the gates, accounted for."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from inspector.cli.results import since_time
from inspector.cli.terminal import console

NAME: Final = "parts"
HELP: Final = """Account for every part: what was told, what was done, and what was acknowledged.

Each part is in one class: done_as_told, done_otherwise, default_though_told, passed_unjudged, passed_without_frame,
never_acknowledged, never_told, told_elsewhere (another agent owned the gate then; ask for the account there), or open
while its acknowledgement may still come. Without --lot and --since it is the
last hour. The newest contradictions are listed: parts that were done otherwise than told, left to the default though
told, passed unjudged or unseen, or never acknowledged. --class lists all parts of one class, each table has its
number."""
EXAMPLE: Final = "Example: inspector parts --since 8h --hours"

USUAL: Final = timedelta(hours=1)


def command(
    *,
    gate: Annotated[str | None, typer.Option(help="Only this gate.")] = None,
    lot: Annotated[str | None, typer.Option(help="Only this lot.")] = None,
    since: Annotated[str | None, typer.Option(help="An age (30m, 1h, 2d) or a time (2025-03-01T06:00).")] = None,
    until: Annotated[str | None, typer.Option(help="An age or a time; parts that came before it.")] = None,
    part_class: Annotated[
        str | None, typer.Option("--class", help="List the newest parts of this class as well.")
    ] = None,
    hours: Annotated[bool, typer.Option("--hours", help="Count hour by hour as well.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Highest number of parts in each list.")] = 50,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    from inspector.config.loading import load
    from inspector.domain import PartClass, PartSelection
    from inspector.errors import UsageError
    from inspector.operation.parts import account_for_parts

    wanted_class: PartClass | None = None
    if part_class is not None:
        try:
            wanted_class = PartClass(part_class.lower())
        except ValueError:
            raise UsageError(f"--class {part_class!r} is none of {', '.join(PartClass)}.") from None
    now = datetime.now(UTC)
    begin = since_time(since, now) if since else None if lot else now - USUAL
    end = since_time(until, now, "--until") if until else None
    if begin is not None and end is not None and end <= begin:
        raise UsageError("--until must be a later time than --since: 2h for --since and 1h for --until, for example.")
    selection = PartSelection(now, gate=gate, lot=lot, since=begin, until=end)
    loaded = load(config)
    with console.progress("parts", quiet=as_json) as tell:
        account = asyncio.run(account_for_parts(loaded, selection, part_class=wanted_class, limit=limit, progress=tell))
    from inspector.cli.terminal import parts_view

    if as_json:
        console.print_json(parts_view.document(account, with_hours=hours, with_parts=wanted_class is not None))
    else:
        parts_view.print_account(account, with_hours=hours, part_class=wanted_class)
