"""The shift sheet: one page to print, and its numbers as CSV."""

from __future__ import annotations

import asyncio
import csv
import io
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from inspector.console.access import Console, console_of, context_of
from inspector.console.board import kinds_of
from inspector.console.shifts import Shift, shift_at, shifts_before
from inspector.domain import Challenge, Outcome, ReviewLabel
from inspector.store import reviews
from inspector.store.console.agents import events_between
from inspector.store.console.hours import HourCount, RecentPieces, count_hours
from inspector.store.console.rejects import RejectedPart, newest_rejects
from inspector.store.ledger.challenges import list_challenges
from inspector.store.pictures.folders import read_kept
from inspector.store.pictures.overlay import Undrawable, size_of
from inspector.store.reviews import ReviewedResult, ReviewFilter
from inspector.stream.verdict_record import parse_time
from inspector.vision.artifacts.binomial import clopper_pearson

OFFERED: Final = 10
SHOWN_REJECTS: Final = 1000
SHOWN_SPOTS: Final = 600
REVIEWS: Final = 2000
CONFIDENCE: Final = 0.95
REVIEWED_WITHIN: Final = timedelta(days=14)
"""Reviews of a shift's parts come this much later at most."""

_SILENT: Final = ("camera_silent", "camera_silent_ended")


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of a group of parts."""

    name: str
    counts: Counter[str]

    @property
    def first_pass_yield(self) -> float | None:
        judged = self.counts["judged_first"]
        return self.counts["passed_first"] / judged if judged else None


@dataclass(frozen=True, slots=True)
class ReviewedShare:
    """Of `n` reviewed parts `hits` were what the line does not want, and between which shares that lies (95 %)."""

    hits: int
    n: int

    @property
    def interval(self) -> tuple[float, float] | None:
        return clopper_pearson(self.hits, self.n, CONFIDENCE) if self.n else None


@dataclass(frozen=True, slots=True)
class RejectMap:
    """Where a product's rejects were: middles and radii in pixels of the picture of `result_id`."""

    product: str
    result_id: str
    size: tuple[int, int]
    spots: tuple[tuple[float, float, float], ...]
    rejects: int


@dataclass(frozen=True, slots=True)
class Downtime:
    """How long a camera was silent within the shift."""

    camera: str
    length: timedelta
    times: int


@dataclass(frozen=True, slots=True)
class Sheet:
    """Everything on a shift's page."""

    shift: Shift
    is_on: bool
    total: Tally
    by_product: tuple[Tally, ...]
    by_camera: tuple[Tally, ...]
    causes: tuple[tuple[str, int], ...]
    overkill: ReviewedShare
    escapes: ReviewedShare
    maps: tuple[RejectMap, ...]
    downtimes: tuple[Downtime, ...]
    challenges: tuple[Challenge, ...]


async def show(request: Request) -> Response:
    """The sheet of the shift that the query names by its beginning, else of the present one."""
    console = console_of(request)
    shift = _chosen(console, request)
    section, now = console.config.console, console.live.now()
    page = console.pages.render(
        "shift.html.j2",
        **context_of(request),
        sheet=await _sheet(request, shift),
        offered=shifts_before(now, section.shifts, console.pages.zone, OFFERED),
    )
    return HTMLResponse(page)


async def as_csv(request: Request) -> Response:
    """The counts of the shift, hour by hour, for a spreadsheet."""
    console = console_of(request)
    shift = _chosen(console, request)
    counts = await _counts(request, shift, min(shift.end, console.live.now()))
    name = f"shift-{shift.begin:%Y%m%dT%H%M}Z.csv"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(table(counts), media_type="text/csv; charset=utf-8", headers=headers)


def table(counts: Iterable[HourCount]) -> str:
    """Counts as CSV. A text that a spreadsheet would take for a formula begins with an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out)
    names = ("hour_utc", "camera", "product", "product_version", "outcome", "cause", "action", "first", "results")
    writer.writerow(names)
    for each in counts:
        row = (each.hour, each.camera, each.product, each.product_version, each.outcome, each.cause, each.action)
        writer.writerow([*(_harmless(value) for value in row), int(each.is_first), each.results])
    return out.getvalue()


def _harmless(value: str | int | None) -> str | int:
    if not isinstance(value, str):
        return "" if value is None else value
    return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _chosen(console: Console, request: Request) -> Shift:
    section, zone = console.config.console, console.pages.zone
    try:
        moment = parse_time(request.query_params.get("begin", ""))
        return shift_at(moment, section.shifts, zone)
    except (ValueError, OverflowError):
        return shift_at(console.live.now(), section.shifts, zone)


async def _counts(request: Request, shift: Shift, until: datetime) -> list[HourCount]:
    recent: RecentPieces = request.app.state.recent
    return await count_hours(console_of(request).database, shift.begin, until, recent)


async def _sheet(request: Request, shift: Shift) -> Sheet:
    console = console_of(request)
    now = console.live.now()
    until = min(shift.end, now)
    counts = await _counts(request, shift, until)
    rejects = await newest_rejects(console.database, shift.begin, until, SHOWN_REJECTS)
    wanted = ReviewFilter(since=shift.begin, until=shift.end + REVIEWED_WITHIN)
    reviewed = [
        each
        for each in await reviews.listed(console.database, wanted, limit=REVIEWS)
        if each.verdict is not None and shift.begin <= each.verdict.received_at < shift.end
    ]
    causes = Counter[str]()
    for each in counts:
        causes[each.cause] += each.results
    return Sheet(
        shift=shift,
        is_on=now < shift.end,
        total=_tallies(counts, lambda _: "")[0] if counts else Tally("", Counter()),
        by_product=_tallies(counts, lambda each: each.product or ""),
        by_camera=_tallies(counts, lambda each: each.camera),
        causes=tuple(causes.most_common()),
        overkill=_share(reviewed, Outcome.REJECT, ReviewLabel.GOOD),
        escapes=_share(reviewed, Outcome.PASS, ReviewLabel.BAD),
        maps=tuple(await asyncio.to_thread(_maps, console, rejects)),
        downtimes=await _downtimes(console, shift, until),
        challenges=tuple(
            each for each in await list_challenges(console.database, limit=200) if shift.begin <= each.begun < shift.end
        ),
    )


def _tallies(counts: Sequence[HourCount], of: Callable[[HourCount], str]) -> tuple[Tally, ...]:
    groups: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for each in counts:
        name = of(each)
        for kind in kinds_of(each.outcome, each.cause, each.action, is_first=each.is_first):
            groups[name][kind] += each.results
    return tuple(Tally(name, groups[name]) for name in sorted(groups))


def _share(reviewed: Sequence[ReviewedResult], outcome: Outcome, label: ReviewLabel) -> ReviewedShare:
    of = [each for each in reviewed if each.verdict is not None and each.verdict.outcome is outcome]
    said = [each for each in of if each.review.label in (ReviewLabel.GOOD, ReviewLabel.BAD)]
    return ReviewedShare(sum(each.review.label is label for each in said), len(said))


def _maps(console: Console, rejects: Sequence[RejectedPart]) -> list[RejectMap]:
    by_product: defaultdict[str, list[RejectedPart]] = defaultdict(list)
    for part in rejects:
        if part.regions:
            by_product[part.product or ""].append(part)
    found = []
    for product, parts in sorted(by_product.items()):
        pictured = _pictured(console, parts)
        if pictured is None:
            continue
        spots = [
            (region.x + region.width / 2, region.y + region.height / 2, max(region.width, region.height) / 2)
            for part in parts
            for region in part.regions
        ]
        found.append(RejectMap(product, *pictured, tuple(spots[:SHOWN_SPOTS]), len(parts)))
    return found


def _pictured(console: Console, parts: Sequence[RejectedPart]) -> tuple[str, tuple[int, int]] | None:
    """The newest part with a picture here, and its size."""
    for part in parts[:50]:
        path = console.pictures.frame(part.result_id, part.camera, part.decided_at)
        if path is not None:
            try:
                return part.result_id, size_of(read_kept(path))
            except (Undrawable, OSError):
                continue
    return None


async def _downtimes(console: Console, shift: Shift, until: datetime) -> tuple[Downtime, ...]:
    """Silences by their events. One that began before the shift is counted from the shift's beginning."""
    began: dict[str, datetime] = {}
    lengths: defaultdict[str, list[timedelta]] = defaultdict(list)
    for event in await events_between(console.database, _SILENT, shift.begin, until):
        if event.kind == _SILENT[0]:
            began[event.subject] = event.at
        else:
            lengths[event.subject].append(event.at - began.pop(event.subject, shift.begin))
    for camera, since in began.items():
        lengths[camera].append(until - since)
    return tuple(Downtime(camera, sum(each, timedelta()), len(each)) for camera, each in sorted(lengths.items()))
