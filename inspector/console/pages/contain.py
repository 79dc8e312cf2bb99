"""After an escape: what was judged since a time, and what passed nearest to the threshold."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse

from inspector.console.access import Console, console_of, context_of
from inspector.console.lately import Counted, Lately
from inspector.console.shifts import shift_at
from inspector.domain import Outcome
from inspector.operation.containment import Containment, contained_in
from inspector.operation.containment_table import CSV_COLUMNS, lines_in
from inspector.store.ledger.containment import Suspicion

SPANS: Final = {"1h": timedelta(hours=1), "8h": timedelta(hours=8), "24h": timedelta(hours=24), "7d": timedelta(days=7)}
"""How far back the page looks; `inspector contain --since` goes back as far as there are rows."""

NEAREST: Final = 30
CHUNK: Final = 500
"""Lines of the CSV that are sent at once."""

COUNTED_FOR_S: Final = 10.0
"""What is in question is counted again after this time at the earliest: it reads every row of the time."""

Asked = tuple[str, str | None, str | None, str | None]
"""Span, product, camera and lot."""


class Containments:
    """What was found for each question lately, for everybody who asks the same."""

    def __init__(self) -> None:
        self.counts = Lately[Asked, Containment](COUNTED_FOR_S, lambda found: len(found.groups))

    async def of(self, console: Console, span: str, wanted: Suspicion) -> Counted[Containment] | None:
        """What is in question, with its age; None if it was never counted and that takes long."""
        asked = (span, wanted.product, wanted.camera, wanted.lot)
        return await self.counts.get(asked, wanted.until, lambda: contained_in(console.database, wanted, limit=NEAREST))


async def show(request: Request) -> Response:
    """What is in question in the time, product and lot that the query names."""
    console = console_of(request)
    span, wanted = _asked(request, console.live.now())
    containments: Containments = request.app.state.containments
    counted = await containments.of(console, span, wanted)
    found = None if counted is None else counted.value
    shown = wanted if found is None else found.suspicion
    times, zone = console.config.console.shifts, console.pages.zone
    page = console.pages.render(
        "contain.html.j2",
        **context_of(request),
        counted=counted,
        wanted=wanted,
        found=found,
        shifts={} if found is None else found.by(lambda group: (shift_at(group.first_at, times, zone).begin,)),
        span=span,
        spans=list(SPANS),
        cameras=console.live.board.cameras,
        outcomes=list(Outcome),
        listed=urlencode(_named(wanted) | {"since": shown.since.isoformat(), "until": shown.until.isoformat()}),
        table=urlencode({"span": span} | _named(wanted)),
    )
    return HTMLResponse(page)


async def as_csv(request: Request) -> Response:
    """Each frame in question as a line, with its lot and part."""
    console = console_of(request)
    _, wanted = _asked(request, console.live.now())
    hours = tuple(sorted({int(time[:2]) for time in console.config.console.shifts}))
    found = Containment(wanted, hours, (), ())
    headers = {"content-disposition": f'attachment; filename="contain-{wanted.since:%Y%m%dT%H%M%SZ}.csv"'}
    return StreamingResponse(_csv(console, found), media_type="text/csv", headers=headers)


async def _csv(console: Console, found: Containment) -> AsyncIterator[str]:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(CSV_COLUMNS)
    waiting = 1
    async for line in lines_in(console.database, found):
        writer.writerow(line)
        waiting += 1
        if waiting >= CHUNK:
            yield text.getvalue()
            text.seek(0)
            text.truncate()
            waiting = 0
    yield text.getvalue()


def _asked(request: Request, now: datetime) -> tuple[str, Suspicion]:
    query = request.query_params
    span = query["span"] if query.get("span") in SPANS else "8h"
    return span, Suspicion(
        since=now - SPANS[span],
        until=now,
        product=query.get("product") or None,
        camera=query.get("camera") or None,
        lot=query.get("lot") or None,
    )


def _named(wanted: Suspicion) -> dict[str, str]:
    """What the query of this page names besides the time."""
    named = {"product": wanted.product, "camera": wanted.camera, "lot": wanted.lot}
    return {name: value for name, value in named.items() if value is not None}
