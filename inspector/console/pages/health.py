"""Health: agents, gates, cameras, store and disk, and the newest events."""

from __future__ import annotations

import asyncio
import shutil

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from inspector.console.access import console_of, context_of
from inspector.domain import Severity
from inspector.store.console.agents import list_agents, list_events, list_gates


async def show(request: Request) -> Response:
    """The page, read from the store now."""
    console, query = console_of(request), request.query_params
    severity = Severity(query["severity"]) if query.get("severity") in list(Severity) else None
    text = query.get("before", "")
    before = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
    events = await list_events(console.database, severity=severity, before=before, limit=51)
    usage = await asyncio.to_thread(_usage, console.config.agent.state_dir)
    page = console.pages.render(
        "health.html.j2",
        **context_of(request),
        agents=await list_agents(console.database),
        gates=await list_gates(console.database),
        cards=[console.live.card(camera) for camera in console.live.board.cameras],
        events=events[:50],
        older=events[49].number if len(events) > 50 else None,
        severity=severity,
        severities=list(Severity),
        free=None if usage is None else _size(usage[0]),
        total=None if usage is None else _size(usage[1]),
    )
    return HTMLResponse(page)


def _usage(folder: object) -> tuple[int, int] | None:
    try:
        usage = shutil.disk_usage(str(folder))
    except OSError:
        return None
    return usage.free, usage.total


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
