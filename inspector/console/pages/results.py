"""Lists of results, newest first: what the numbers of the other pages lead to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from inspector.console.access import console_of, context_of
from inspector.console.board import TOO_LATE
from inspector.domain import Cause, Outcome
from inspector.store.console.rows import Place, RowFilter, SeenRow, list_rows
from inspector.stream.verdict_record import parse_time

PAGE_ROWS: Final = 50


async def show(request: Request) -> Response:
    """The list that the query asks for. What it can't mean is left out."""
    console = console_of(request)
    query = request.query_params
    wanted = filter_of(dict(query))
    rows = await list_rows(console.database, wanted, PAGE_ROWS + 1)
    has_more = len(rows) > PAGE_ROWS
    rows = rows[:PAGE_ROWS]
    kept = {name: value for name, value in query.items() if name != "before"}
    page = console.pages.render(
        "results.html.j2",
        **context_of(request),
        rows=rows,
        chosen=kept,
        cameras=console.live.board.cameras,
        newest=f"/results?{urlencode(kept)}",
        older=f"/results?{urlencode({**kept, 'before': _written(rows[-1])})}" if has_more else None,
        is_first="before" not in query,
        outcomes=list(Outcome),
    )
    return HTMLResponse(page)


def filter_of(query: dict[str, str]) -> RowFilter:
    """The filter of a query. `cause=late` stands for all that came too late."""
    outcome, cause = query.get("outcome"), query.get("cause")
    causes: tuple[Cause, ...] = ()
    if cause == Cause.LATE.value:
        causes = tuple(Cause(each) for each in sorted(TOO_LATE))
    elif cause in list(Cause):
        causes = (Cause(cause),)
    return RowFilter(
        camera=query.get("camera") or None,
        product=query.get("product") or None,
        outcomes=(Outcome(outcome),) if outcome in list(Outcome) else (),
        causes=causes,
        action=query.get("action") or None,
        lot=query.get("lot") or None,
        since=_time(query.get("since")),
        until=_time(query.get("until")),
        before=_place(query.get("before")),
    )


def _time(text: str | None) -> datetime | None:
    try:
        return parse_time(text).astimezone(UTC) if text else None
    except ValueError:
        return None


def _written(row: SeenRow) -> str:
    return f"{row.seq}.{int(row.received_at.timestamp() * 1000)}"


def _place(text: str | None) -> Place | None:
    """The place in a list that `_written` wrote."""
    seq, _, at_ms = (text or "").partition(".")
    if not all(part.isascii() and part.isdigit() and len(part) < 15 for part in (seq, at_ms)):
        return None
    return Place(int(seq), datetime.fromtimestamp(int(at_ms) / 1000, UTC))
