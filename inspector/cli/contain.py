"""`inspector contain`: after an escape, what else may have got through."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from inspector.cli.results import since_time
from inspector.cli.terminal import console

if TYPE_CHECKING:
    from inspector.config.config import Config
    from inspector.operation.containment import Containment

NAME: Final = "contain"
HELP: Final = """After an escape: the lots, parts and shifts judged since then, and what passed near the threshold.

--rescore judges the kept frames again by another version, says how many that are, and lists those on which it differs.
--csv writes one line for each frame in question, with its lot and part."""
EXAMPLE: Final = (
    "Example: inspector contain --since 8h --product bottle --rescore 4 --csv parts.csv --report contain.html"
)


def command(
    *,
    since: Annotated[str, typer.Option(help="An age (30m, 1h, 2d) or a time (2025-03-01T06:00).")],
    until: Annotated[str | None, typer.Option(help="An age or a time; results before it. Else now.")] = None,
    product: Annotated[str | None, typer.Option(help="Only this product, and frames of no known product.")] = None,
    version: Annotated[int | None, typer.Option(min=1, help="Only frames that this version of it judged.")] = None,
    camera: Annotated[str | None, typer.Option(help="Only this camera.")] = None,
    lot: Annotated[str | None, typer.Option(help="Only this lot.")] = None,
    rescore: Annotated[
        int | None, typer.Option(metavar="VERSION", min=1, help="Judge kept frames again by this version.")
    ] = None,
    shifts: Annotated[str, typer.Option(help="Hours of the local day at which shifts begin.")] = "6,14,22",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most passes near the threshold that are listed.")] = 50,
    csv: Annotated[Path | None, typer.Option(help="Write each frame in question as a line of this CSV file.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the findings as one HTML file.")] = None,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    from inspector.config.loading import load
    from inspector.errors import UsageError
    from inspector.operation.containment import contain
    from inspector.operation.report_page import ensure_page
    from inspector.store.ledger.containment import Suspicion

    for file in (csv, report):
        ensure_page(file)
    now = datetime.now(UTC)
    begin, end = since_time(since, now), since_time(until, now, "--until") if until else now
    if end <= begin:
        raise UsageError("--until must be a later time than --since: 2h for --since and 1h for --until, for example.")
    loaded = load(config)
    suspicion = Suspicion(begin, end, product, version, camera, lot)
    with console.progress("contain", quiet=as_json) as tell:
        found = contain(loaded, suspicion, rescore=rescore, shifts=_hours(shifts), limit=limit, progress=tell)
    if csv is not None:
        _write_csv(loaded, found, csv)
    if report is not None:
        from inspector.files import write_text
        from inspector.reports.containment import containment_page

        flips = () if found.rescored is None else found.rescored.flips
        write_text(report, containment_page(found.to_document(), flips))
    if as_json:
        console.print_json(found.to_document())
    else:
        from inspector.cli.terminal import containment_view

        containment_view.print_containment(found, [file for file in (csv, report) if file is not None])


def _write_csv(config: Config, found: Containment, path: Path) -> None:
    from inspector.files import replacing_text
    from inspector.operation.containment_table import write_csv

    with replacing_text(path) as file:
        write_csv(config, found, file)


def _hours(text: str) -> list[int]:
    from inspector.errors import UsageError

    try:
        hours = sorted({int(word) for word in text.split(",")})
    except ValueError:
        hours = []
    if not hours or hours[0] < 0 or hours[-1] > 23:
        raise UsageError(f"--shifts {text!r} is no list of hours of the day, such as 6,14,22.")
    return hours
