"""The account of the gates' parts: how many are in which class, and which parts these are."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from inspector.console.access import console_of, context_of
from inspector.domain import PartClass, PartSelection
from inspector.operation.parts import account_in
from inspector.stream.accounting import CONTRADICTIONS, terms_of

LISTED: Final = 50
SPANS: Final = {"1h": timedelta(hours=1), "8h": timedelta(hours=8), "24h": timedelta(hours=24)}


async def show(request: Request) -> Response:
    """The account of the last hour, or of the time that the query names."""
    console, query = console_of(request), request.query_params
    span = query.get("span") if query.get("span") in SPANS else "1h"
    terms = terms_of(console.config)
    gate = query.get("gate") if query.get("gate") in {each.name for each in terms} else None
    part_class = PartClass(query["class"]) if query.get("class") in list(PartClass) else None
    now = console.live.now()
    wanted = PartSelection(now, terms=terms, gate=gate, since=now - SPANS[span or "1h"])
    account = await account_in(console.database, wanted, part_class=part_class, limit=LISTED)
    listed = account.listed if part_class is not None else account.contradicted
    page = console.pages.render(
        "parts.html.j2",
        **context_of(request),
        account=account,
        listed=listed,
        part_class=part_class,
        classes=list(PartClass),
        contradictions=CONTRADICTIONS,
        gates=[each.name for each in terms],
        gate=gate,
        span=span,
        spans=list(SPANS),
    )
    return HTMLResponse(page)
