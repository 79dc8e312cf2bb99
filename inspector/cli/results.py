"""`inspector results`: what was decided about each part, and why."""

from __future__ import annotations

import asyncio
import enum
import re
from datetime import UTC, datetime, timedelta
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
