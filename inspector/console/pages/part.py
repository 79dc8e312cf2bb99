"""One part: its picture with the heat map, where it stands out, the facts, and its neighbours at the camera."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from inspector.console.access import console_of, context_of, session_of
from inspector.console.pages.pictures import verdict_of
from inspector.console.pages.review import seen_of
from inspector.domain import Role, Verdict
from inspector.store import reviews
from inspector.store.console.rows import RowFilter, list_rows, place_of
from inspector.store.pictures.folders import read_kept
from inspector.store.pictures.overlay import Undrawable, size_of
from inspector.stream.verdict_record import EXTRA_KEYS, RECORD_KEYS, plain

NEIGHBOURS: Final = 5
STAGES: Final = ("decode_ms", "route_ms", "embed_ms", "score_ms")


@dataclass(frozen=True, slots=True)
class Slice:
    """One stage in the bar of timings. `start` and `width` are shares of the whole."""

    name: str
    milliseconds: float
    start: float
    width: float


async def show(request: Request) -> Response:
    """The page of the part that the address names."""
    console = console_of(request)
    verdict = await verdict_of(request)
    where = (verdict.result_id, verdict.camera, verdict.decided_at)
    frame = await asyncio.to_thread(console.pictures.frame, *where)
    heat = await asyncio.to_thread(console.pictures.heat, *where)
    size = None if frame is None else await asyncio.to_thread(_size_px, frame)
    if size is not None:
        seen_of(request).note(session_of(request).person.name, verdict.result_id)
    place = await place_of(console.database, verdict.result_id)
    before = await list_rows(console.database, RowFilter(camera=verdict.camera, before=place), NEIGHBOURS)
    after = await list_rows(console.database, RowFilter(camera=verdict.camera, after=place), NEIGHBOURS)
    page = console.pages.render(
        "part.html.j2",
        **context_of(request),
        verdict=verdict,
        size=size,
        has_heat=heat is not None,
        slices=slices_of(verdict),
        before=before[::-1],
        after=after[::-1],
        fields=fields_of(verdict),
        reviewed=(await reviews.counting_of(console.database, [verdict.result_id])).get(verdict.result_id),
        may_review=size is not None and session_of(request).person.role.covers(Role.OPERATOR),
    )
    return HTMLResponse(page)


def _size_px(frame: Path) -> tuple[int, int] | None:
    try:
        return size_of(read_kept(frame))
    except (Undrawable, OSError):
        return None


def slices_of(verdict: Verdict) -> list[Slice]:
    """The stages of the part's road, and what is left of its total."""
    total = verdict.total_ms or 0.0
    parts = [(name, getattr(verdict, name) or 0.0) for name in STAGES]
    known = sum(value for _, value in parts)
    whole = max(total, known)
    if whole <= 0:
        return []
    parts.append(("rest", max(0.0, total - known)))
    slices, start = [], 0.0
    for name, value in parts:
        if value > 0:
            slices.append(Slice(name, value, start / whole, value / whole))
            start += value
    return slices


def fields_of(verdict: Verdict) -> list[tuple[str, Any]]:
    """Every field of the row, under its name in the record."""
    return [(name, plain(getattr(verdict, name))) for name in (*RECORD_KEYS[1:], *EXTRA_KEYS) if name != "regions"]
