"""`inspector events`: what happened beside the frames."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from inspector.cli.results import since_time, word_of
from inspector.cli.terminal import console

NAME: Final = "events"
HELP: Final = "Show what happened beside the frames: links that went, holds, refused versions, drift."
EXAMPLE: Final = "Example: inspector events --severity alarm --since 8h"

_STYLES: Final = {"alarm": "bold red", "warning": "yellow", "info": "dim"}


def command(
    kind: Annotated[str | None, typer.Option(help="Only this kind, for example gate_held.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only about this camera, gate or other subject.")] = None,
    severity: Annotated[str | None, typer.Option(help="Only info, warning or alarm.")] = None,
    since: Annotated[str | None, typer.Option(help="An age (30m, 1h, 2d) or a time (2025-03-01T06:00).")] = None,
    until: Annotated[str | None, typer.Option(help="An age or a time; events before it.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Highest number of events.")] = 50,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    from rich.text import Text

    from inspector.cli.terminal.rendering import local_time, show, table
    from inspector.config.loading import load
    from inspector.domain import Severity
    from inspector.operation.records import events_of
    from inspector.store.ledger.events import EventFilter
    from inspector.stream.verdict_record import format_time

    now = datetime.now(UTC)
    begin = since_time(since, now) if since else None
    end = since_time(until, now, "--until") if until else None
    wanted = EventFilter(kind, subject, word_of(Severity, severity, "--severity"), begin, end)
    found = asyncio.run(events_of(load(config), wanted, limit))
    if as_json:
        names = ("kind", "subject", "detail")
        console.print_json(
            [
                {"at": format_time(each.at), "severity": each.severity.value, **{n: getattr(each, n) for n in names}}
                for each in found
            ]
        )
        return
    if not found:
        console.out.print("There is no event like that.", highlight=False)
        return
    made = table("Time", "Severity", "Kind", "Subject", "Detail")
    for each in found:
        word = Text(each.severity.value, style=_STYLES[each.severity.value])
        made.add_row(local_time(each.at), word, each.kind, each.subject, each.detail)
    show(made)
