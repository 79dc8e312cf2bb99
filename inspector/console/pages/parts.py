"""The account of the gates' parts: how many are in which class, and which parts these are."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from inspector.console.access import Console, console_of, context_of
from inspector.console.lately import Counted, Lately
from inspector.domain import PartClass, PartSelection
from inspector.operation.parts import PartsAccount, account_in
from inspector.stream.accounting import CONTRADICTIONS, terms_of

LISTED: Final = 50
SPANS: Final = {"1h": timedelta(hours=1), "8h": timedelta(hours=8), "24h": timedelta(hours=24)}

COUNTED_FOR_S: Final = 10.0
"""An account is counted again after this time at the earliest: it reads every part of the time that is asked for."""

Asked = tuple[str, str | None, PartClass | None]
"""The span, the gate and the class that a page shows."""


class Accounts:
    """The accounts that were counted last, for everybody who asks for the same ones."""

    def __init__(self) -> None:
        self.counts = Lately[Asked, PartsAccount](COUNTED_FOR_S, lambda account: len(account.counts))

    async def count(self, console: Console, asked: Asked, now: datetime) -> Counted[PartsAccount] | None:
        """The account with its age; None if it was never counted and that takes long."""
        span, gate, part_class = asked
        wanted = PartSelection(now, terms=terms_of(console.config), gate=gate, since=now - SPANS[span])
        return await self.counts.get(
            asked, now, lambda: account_in(console.database, wanted, part_class=part_class, limit=LISTED)
        )


async def show(request: Request) -> Response:
    """The account of the last hour, or of the time that the query names."""
    console, query = console_of(request), request.query_params
    span = query["span"] if query.get("span") in SPANS else "1h"
    terms = terms_of(console.config)
    gate = query.get("gate") if query.get("gate") in {each.name for each in terms} else None
    part_class = PartClass(query["class"]) if query.get("class") in list(PartClass) else None
    accounts: Accounts = request.app.state.accounts
    counted = await accounts.count(console, (span, gate, part_class), console.live.now())
    account = None if counted is None else counted.value
    listed = () if account is None else account.listed if part_class is not None else account.contradicted
    page = console.pages.render(
        "parts.html.j2",
        **context_of(request),
        counted=counted,
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
