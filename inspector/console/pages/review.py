"""Review: one part after another, large, and what a person says of it.

A word is taken only from somebody whom this console has shown the part's picture. There is no way to say something of
many parts at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from inspector.console.access import (
    Console,
    Denied,
    console_of,
    context_of,
    field,
    form_of,
    is_fragment,
    local_path,
    session_of,
)
from inspector.domain import Outcome, ReviewLabel, Verdict
from inspector.operation.reviews import give_review, undo_review
from inspector.store import reviews
from inspector.store.console.queue import QueueKind, waiting
from inspector.store.console.rows import SeenRow
from inspector.store.ledger.queries import get_result
from inspector.store.reviews import ReviewFilter

SHOWN: Final = 12
AGREEMENT_OVER: Final = timedelta(days=30)
AGREEMENT_REVIEWS: Final = 2000
_SEEN: Final = 5000


class SeenPictures:
    """Which parts' pictures were shown to whom, as far as it matters."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()

    def note(self, person: str, result_id: str) -> None:
        """The person is being shown this part's picture."""
        self._seen[person, result_id] = None
        while len(self._seen) > _SEEN:
            self._seen.popitem(last=False)

    def has(self, person: str, result_id: str) -> bool:
        return (person, result_id) in self._seen


@dataclass(frozen=True, slots=True)
class Agreement:
    """What people said of parts lately. Each is a count of reviews that count."""

    rejects_bad: int
    rejects_good: int
    passes_good: int
    passes_bad: int
    unsure: int


def seen_of(request: Request) -> SeenPictures:
    found: SeenPictures = request.app.state.seen
    return found


async def show(request: Request) -> Response:
    """The queue with its next part."""
    return HTMLResponse(await _page(request, "review.html.j2", request.query_params))


async def take(request: Request) -> Response:
    """Store what the person says, and show the next part."""
    console, form = console_of(request), await form_of(request)
    person, result_id = session_of(request).person.name, field(form, "result_id")
    label = field(form, "label")
    if label not in list(ReviewLabel):
        raise Denied(400, console.pages.text("review.no_label"))
    if not seen_of(request).has(person, result_id):
        raise Denied(409, console.pages.text("review.unseen"))
    await give_review(
        console.config,
        result_id,
        ReviewLabel(label),
        by=person,
        kind=field(form, "kind") or None,
        note=field(form, "note"),
        is_blind=field(form, "blind") == "1",
    )
    if not is_fragment(request):
        return RedirectResponse(local_path(field(form, "next")), 303)
    chosen = {name: field(form, name) for name in ("queue", "blind", "product")}
    return HTMLResponse(await _page(request, "_review.html.j2", {**chosen, "undo": result_id}))


async def undo(request: Request) -> Response:
    """Take back what was said last, and show that part again."""
    console, form = console_of(request), await form_of(request)
    result_id = field(form, "result_id")
    by = session_of(request).person.name
    await undo_review(console.config, result_id, by=by, reason=console.pages.text("review.undo.reason"))
    if not is_fragment(request):
        return RedirectResponse(local_path(field(form, "next")), 303)
    chosen = {name: field(form, name) for name in ("queue", "blind", "product")}
    return HTMLResponse(await _page(request, "_review.html.j2", {**chosen, "part": result_id}))


async def _page(request: Request, template: str, query: Any) -> str:
    console = console_of(request)
    kind = QueueKind(query["queue"]) if query.get("queue") in list(QueueKind) else QueueKind.REJECT
    product = query.get("product") or None
    keep = console.config.images.keep_passes
    found = await waiting(console.database, kind, keep_passes=keep, limit=4 * SHOWN, product=product)
    rows = await asyncio.to_thread(_with_pictures, console, found)
    verdict = await _wanted(console, query.get("part") or None, rows)
    if verdict is not None:
        seen_of(request).note(session_of(request).person.name, verdict.result_id)
    chosen = {"queue": kind.value, "blind": "1" if query.get("blind") == "1" else "", "product": product or ""}
    return console.pages.render(
        template,
        **context_of(request),
        verdict=verdict,
        rows=[row for row in rows if verdict is None or row.result_id != verdict.result_id][:SHOWN],
        chosen=chosen,
        kinds=list(QueueKind),
        link=lambda **changes: f"/review?{urlencode({**chosen, **changes})}",
        is_blind=chosen["blind"] == "1",
        undo=query.get("undo") or None,
        known_kinds=await reviews.known_kinds(console.database),
        agreement=await _agreement(console),
    )


async def _wanted(console: Console, part: str | None, rows: list[SeenRow]) -> Verdict | None:
    """The part that was asked for, else the first of the queue."""
    wanted = part or (rows[0].result_id if rows else None)
    return None if wanted is None else await get_result(console.database, wanted)


def _with_pictures(console: Console, rows: list[SeenRow]) -> list[SeenRow]:
    kept = console.pictures
    return [row for row in rows if kept.frame(row.result_id, row.camera, row.decided_at) is not None]


async def _agreement(console: Console) -> Agreement:
    since = console.live.now() - AGREEMENT_OVER
    newest = await reviews.listed(console.database, ReviewFilter(since=since), limit=AGREEMENT_REVIEWS)
    said: Counter[tuple[Outcome | None, ReviewLabel]] = Counter()
    for each in newest:
        said[None if each.verdict is None else each.verdict.outcome, each.review.label] += 1
    return Agreement(
        rejects_bad=said[Outcome.REJECT, ReviewLabel.BAD],
        rejects_good=said[Outcome.REJECT, ReviewLabel.GOOD],
        passes_good=said[Outcome.PASS, ReviewLabel.GOOD],
        passes_bad=said[Outcome.PASS, ReviewLabel.BAD],
        unsure=sum(count for (_, label), count in said.items() if label is ReviewLabel.UNSURE),
    )
