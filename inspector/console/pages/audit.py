"""The audit: who changed what, when and why, and whether the chain holds."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from inspector.console.access import console_of, context_of
from inspector.store import audit
from inspector.store.audit import ChainState

PAGE_ROWS: Final = 50
VERIFIED_FOR_S: Final = 30.0
"""A verified chain is not read again sooner: it may have many thousands of entries."""


class Chain:
    """What the last reading of the chain said. Only entries that came since are read again, unless it is old."""

    def __init__(self) -> None:
        self._state: ChainState | None = None
        self._at_s = 0.0
        self._turn = asyncio.Lock()

    async def state(self, request: Request) -> ChainState:
        """The chain's state, at most `VERIFIED_FOR_S` old."""
        async with self._turn:
            if self._state is None or time.monotonic() - self._at_s > VERIFIED_FOR_S:
                self._state = await audit.state(console_of(request).database)
                self._at_s = time.monotonic()
            return self._state


async def show(request: Request) -> Response:
    """The newest entries, and what reading the whole chain says."""
    console = console_of(request)
    text = request.query_params.get("before", "")
    before = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
    entries = await audit.newest_entries(console.database, before=before, limit=PAGE_ROWS + 1)
    page = console.pages.render(
        "audit.html.j2",
        **context_of(request),
        entries=entries[:PAGE_ROWS],
        older=entries[PAGE_ROWS - 1].seq if len(entries) > PAGE_ROWS else None,
        is_first=before is None,
        chain=await request.app.state.chain.state(request),
    )
    return HTMLResponse(page)
