"""The line: every camera at a glance, live."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse

from inspector.console.access import console_of, context_of
from inspector.console.live import stream

STREAM_S: Final = 600.0
"""A stream ends after this time. The browser connects again and has to show its session again."""


async def show(request: Request) -> Response:
    """The page as it stands; events keep it up to date."""
    console = console_of(request)
    live, rendering = console.live, console.rendering
    page = console.pages.render(
        "line.html.j2",
        **context_of(request),
        strip=Markup(rendering.strip(live)),
        grid=Markup(rendering.grid(live)),
        count=len(live.board.cameras),
    )
    return HTMLResponse(page)


async def events(request: Request) -> Response:
    """The stream of server-sent events of one open page."""
    console = console_of(request)
    if console.live.hub.is_full:
        return PlainTextResponse("", 503, headers={"retry-after": "5"})
    return StreamingResponse(
        stream(console.live, console.rendering, STREAM_S),
        media_type="text/event-stream",
        headers={"x-accel-buffering": "no"},
    )
