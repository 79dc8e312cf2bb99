"""`inspector results`: what was decided about each part, and why."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer

from inspector.cli.terminal import console

NAME: Final = "results"
HELP: Final = "Show what was decided, and why."

_AGES: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGE: Final = re.compile(r"(\d{1,6})([smhdw])")

Word = TypeVar("Word", bound=enum.StrEnum)

app = typer.Typer(no_args_is_help=True, epilog="Example: inspector results list --since 1h")


@app.command("list", epilog="Example: inspector results list --outcome reject --since 1h")
def list_(
    *,
    outcome: Annotated[str | None, typer.Option(help="pass, reject, unjudged or uninspected.")] = None,
    product: Annotated[str | None, typer.Option(help="Only this product.")] = None,
    camera: Annotated[str | None, typer.Option(help="Only this camera.")] = None,
    cause: Annotated[str | None, typer.Option(help="Only this cause, for example unknown_product.")] = None,
    lot: Annotated[str | None, typer.Option(help="Only this lot.")] = None,
    late: Annotated[
        str | None,
        typer.Option(
            help="Only frames that came too late and showed this afterwards: pass, reject, unjudged, waiting."
        ),
    ] = None,
    since: Annotated[str | None, typer.Option(help="An age (30m, 1h, 2d) or a time (2025-03-01T06:00).")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Highest number of rows.")] = 50,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """The newest results, newest first."""
    from inspector.config.loading import load
    from inspector.domain import Cause, LateOutcome, Outcome
    from inspector.operation.results import newest_results
    from inspector.store.ledger.queries import ResultFilter

    wanted = ResultFilter(
        product=product,
        outcome=word_of(Outcome, outcome, "--outcome"),
        cause=word_of(Cause, cause, "--cause"),
        camera=camera,
        lot=lot,
        late_outcome=word_of(LateOutcome, late, "--late"),
        since=since_time(since, datetime.now(UTC)) if since else None,
    )
    verdicts = asyncio.run(newest_results(load(config), wanted, limit))
    if as_json:
        from inspector.stream.verdict_record import journal_record

        console.print_json([journal_record(verdict) for verdict in verdicts])
        return
    from inspector.cli.terminal import results_view

    results_view.print_list(verdicts, is_filtered=wanted != ResultFilter(), is_cut=len(verdicts) == limit)


@app.command(epilog="Example: inspector results show 1f3c9a")
def show(
    result_id: Annotated[str, typer.Argument(metavar="ID", help="A result's id, or enough of its start.")],
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """One result with everything that is known about it."""
    from inspector.cli.terminal import results_view
    from inspector.config.loading import load
    from inspector.operation.results import find_result
    from inspector.stream.verdict_record import journal_record

    result = asyncio.run(find_result(load(config), result_id))
    if as_json:
        console.print_json(journal_record(result.verdict) | {"files": [str(path) for path in result.files]})
    else:
        results_view.print_one(result.verdict, result.files)


@app.command(epilog="Example: inspector results export --since 1d --output results.jsonl")
def export(
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File; else standard output.")] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="jsonl, or csv as for a file of that name. Else jsonl.")
    ] = None,
    outcome: Annotated[str | None, typer.Option(help="pass, reject, unjudged or uninspected.")] = None,
    product: Annotated[str | None, typer.Option(help="Only this product.")] = None,
    camera: Annotated[str | None, typer.Option(help="Only this camera.")] = None,
    lot: Annotated[str | None, typer.Option(help="Only this lot.")] = None,
    since: Annotated[str | None, typer.Option(help="An age (30m, 1h, 2d) or a time (2025-03-01T06:00).")] = None,
    until: Annotated[str | None, typer.Option(help="An age or a time; results before it.")] = None,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Write results to a file, in the order of recording, with every field; any number of them."""
    from inspector.config.loading import load
    from inspector.domain import Outcome
    from inspector.errors import UsageError
    from inspector.files import replacing_text
    from inspector.operation.report_page import ensure_page
    from inspector.operation.result_export import ExportForm, export_results
    from inspector.store.ledger.queries import ResultFilter

    if as_json and output is None:
        raise UsageError("--json says what was written to a file; name the file with --output.")
    ensure_page(output)
    usual = ExportForm.CSV if output is not None and output.suffix.lower() == ".csv" else ExportForm.JSONL
    chosen = word_of(ExportForm, form, "--format") or usual
    now = datetime.now(UTC)
    wanted = ResultFilter(
        product=product,
        outcome=word_of(Outcome, outcome, "--outcome"),
        camera=camera,
        lot=lot,
        since=since_time(since, now) if since else None,
        until=since_time(until, now, "--until") if until else None,
    )
    loaded = load(config)
    with console.progress("Exporting", quiet=as_json or output is None) as tell, contextlib.ExitStack() as opened:
        file = sys.stdout
        if output is not None:
            file = opened.enter_context(replacing_text(output))
        rows = asyncio.run(export_results(loaded, wanted, chosen, file, tell))
    if as_json:
        from inspector.domain import printable

        console.print_json({"results": rows, "format": chosen.value, "file": printable(str(output))})
    elif output is not None:
        console.out.print(f"{rows} results are in {output}", highlight=False, markup=False, soft_wrap=True)


@app.command(epilog="Example: inspector results replay 1f3c9a")
def replay(
    result_id: Annotated[str, typer.Argument(metavar="ID", help="A result's id, or enough of its start.")],
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Judge the kept frame of a result again by the version that judged it, and say whether the score is the same.

    On the same engine and processor the bits are the same. Elsewhere the levels agree within the tolerance by which a
    version is checked when it is loaded; beyond it the exit code is 1.
    """
    from inspector.cli.terminal import replay_view
    from inspector.config.loading import load
    from inspector.operation.replaying import Sameness
    from inspector.operation.replaying import replay as judge_again

    found = judge_again(load(config), result_id)
    if as_json:
        console.print_json(found.to_document())
    else:
        replay_view.print_replay(found)
    if found.sameness is Sameness.DIFFERS:
        raise typer.Exit(1)


def since_time(text: str, now: datetime, option: str = "--since") -> datetime:
    """The moment for an age or a time as text. A time without a zone is in this machine's zone. Raises UsageError."""
    from inspector.errors import UsageError

    try:
        if age := _AGE.fullmatch(text.strip()):
            return now - timedelta(**{_AGES[age[2]]: int(age[1])})
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{option} {text!r} is neither an age such as 30m, 1h or 2d nor a time such as 2025-03-01T06:00."
        ) from None


def word_of(words: type[Word], text: str | None, option: str) -> Word | None:
    """The word of that spelling; None for None. Raises UsageError with all words."""
    from inspector.errors import UsageError

    if text is None:
        return None
    try:
        return words(text.lower())
    except ValueError:
        raise UsageError(f"{option} {text!r} is none of {', '.join(words)}.") from None
