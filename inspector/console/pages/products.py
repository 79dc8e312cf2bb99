"""Products: which version judges, what it rests on, and where its threshold stands among the parts it saw."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from inspector.agent.clock import SystemClock
from inspector.console.access import Console, Denied, console_of, context_of, field, form_of, session_of
from inspector.console.histogram import MOST_LEVEL, Histogram, histogram, x_of
from inspector.console.lately import Counted, Lately
from inspector.domain import ProductVersion
from inspector.enrolment.enrolled_images import folder_of
from inspector.errors import ArtifactError, RegistryError, UsageError
from inspector.operation import product_versions
from inspector.operation.drift import ProductDrift, drifts_in
from inspector.operation.product_versions import chosen_version
from inspector.operation.signing_keys import policy_of
from inspector.operation.threshold_approval import (
    SecondPersonNeeded,
    approve_threshold,
    open_proposal,
    propose_threshold,
)
from inspector.operation.version_comparison import compare_versions
from inspector.store.console.levels import ScoredPart, newest_scores
from inspector.store.pictures.folders import read_kept
from inspector.store.registry.registry import SqlRegistry
from inspector.vision.artifacts.eyesight import objections_of
from inspector.vision.artifacts.thresholds import HIGHEST_LEVEL, LOWEST_LEVEL, EnrolledThreshold

LOOKED_AT: Final = 1000
"""Newest parts by which a threshold is looked at."""

COMPARED_OVER: Final = timedelta(days=7)
FLIPS: Final = 12
DRIFT_FOR_S: Final = 60.0
"""Drift is counted again after this time at the earliest: it reads every part of its hours."""

REPORT_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; sandbox"
"""The report of an enrolment is one file with styles and pictures of its own, and no script."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A version's threshold among its newest parts. `level`: where it stands now, as a level of the enrolment."""

    level: float
    statement: str
    parts: int
    rejects: int
    histogram: Histogram


@dataclass(frozen=True, slots=True)
class Change:
    """What another threshold would have changed in the newest parts."""

    parts: int
    more: int
    fewer: int

    @property
    def is_nothing(self) -> bool:
        return not self.more and not self.fewer


Drifting = Mapping[tuple[str, int], ProductDrift]
"""How the accepted parts lie, by product and version."""


class Drifts:
    """How the accepted parts of the live versions lie, counted once in `DRIFT_FOR_S` for everybody who asks."""

    def __init__(self) -> None:
        self.counts = Lately[tuple[tuple[str, int, float], ...], Drifting](DRIFT_FOR_S)

    async def of(self, console: Console, versions: Sequence[ProductVersion]) -> Counted[Drifting] | None:
        """Of the live ones among all versions; None if it was never counted and that takes long."""
        live = [version for version in versions if version.is_live]
        question = tuple(sorted((each.product, each.version, each.threshold) for each in live))
        now = console.live.now()
        since = now - timedelta(hours=console.config.agent.drift_hours)

        async def count() -> Drifting:
            found = await drifts_in(console.database, live, since)
            return {(each.version.product, each.version.version): each for each in found}

        return await self.counts.get(question, now, count)


async def show_all(request: Request) -> Response:
    """A card for each product."""
    console = console_of(request)
    versions = await _versions(console)
    cards, drifts = [], await _drifts(request, versions)
    for product in sorted({version.product for version in versions}):
        own = [version for version in versions if version.product == product]
        version = chosen_version(own, None)
        cards.append((version, await _threshold(console, version), len(own)))
    page = console.pages.render("products.html.j2", **context_of(request), cards=cards, drifts=drifts, x_of=x_of)
    return HTMLResponse(page)


async def show(request: Request) -> Response:
    """One product."""
    return await _page(request, "")


async def shadow(request: Request) -> Response:
    """What the shadow version of the product would change, by the frames that both have judged."""
    console, product = console_of(request), request.path_params["product"]
    since = console.live.now() - COMPARED_OVER
    try:
        found = await compare_versions(console.config, product, since=since, most_flips=FLIPS)
    except RegistryError as error:
        raise Denied(404, str(error)) from error
    return HTMLResponse(console.pages.render("_shadow.html.j2", **context_of(request), found=found))


async def preview(request: Request) -> Response:
    """What a threshold would have changed, in a sentence for the slider's page."""
    console, version = console_of(request), await _chosen(request)
    level = _level(console, request.query_params.get("level", ""))
    change = await _change(console, version, level)
    page = console.pages.render("_preview.html.j2", change=change, level=level)
    return HTMLResponse(page)


async def move_threshold(request: Request) -> Response:
    """Move the threshold of a version."""
    console, form, version = console_of(request), await form_of(request), await _chosen(request)
    level = _level(console, field(form, "level"))
    work = product_versions.move_threshold(
        console.config,
        version.product,
        version.version,
        level,
        by=session_of(request).person.name,
        reason=field(form, "reason"),
    )
    return await _done(request, version.product, work)


async def propose(request: Request) -> Response:
    """Ask a second person for a level that is too far for one person alone."""
    console, form, version = console_of(request), await form_of(request), await _chosen(request)
    level, by = _level(console, field(form, "level")), session_of(request).person.name
    work = propose_threshold(console.config, version, level, by=by, reason=field(form, "reason"))
    return await _done(request, version.product, work)


async def approve(request: Request) -> Response:
    """Move the threshold to what another person has proposed."""
    console, form, version = console_of(request), await form_of(request), await _chosen(request)
    by = session_of(request).person.name
    return await _done(
        request, version.product, approve_threshold(console.config, version, by=by, reason=field(form, "reason"))
    )


async def activate(request: Request) -> Response:
    """Make a version live."""
    console, form, version = console_of(request), await form_of(request), await _chosen(request)
    work = product_versions.activate(
        console.config,
        version.product,
        version.version,
        by=session_of(request).person.name,
        reason=field(form, "reason"),
        insists=field(form, "insist") == "yes",
    )
    return await _done(request, version.product, work)


async def roll_back(request: Request) -> Response:
    """Make the version live that was live before."""
    console, form, product = console_of(request), await form_of(request), request.path_params["product"]
    work = product_versions.roll_back(
        console.config,
        product,
        by=session_of(request).person.name,
        reason=field(form, "reason"),
        insists=field(form, "insist") == "yes",
    )
    return await _done(request, product, work)


async def report(request: Request) -> Response:
    """The report of a version's enrolment, as it was written then."""
    console, version = console_of(request), await _chosen(request)
    path = folder_of(console.config.agent.state_dir, version.product) / f"version-{version.version}.html"
    try:
        content = await asyncio.to_thread(read_kept, path)
    except OSError:
        raise Denied(404, console.pages.text("products.no_report")) from None
    headers = {"content-security-policy": REPORT_POLICY}
    return HTMLResponse(content, headers=headers)


async def _done(request: Request, product: str, work: Any) -> Response:
    """Do it and show the product again; show what speaks against it where it was refused."""
    try:
        await work
    except SecondPersonNeeded as error:
        form = await form_of(request)
        return await _page(request, str(error), 400, asked=(field(form, "level"), field(form, "reason")))
    except (UsageError, RegistryError, ArtifactError) as error:
        return await _page(request, str(error), 400)
    return RedirectResponse(f"/products/{quote(product, safe='')}", 303)


async def _page(request: Request, said: str, status: int = 200, asked: tuple[str, str] | None = None) -> Response:
    console, product = console_of(request), request.path_params["product"]
    everything = await _versions(console)
    versions = [each for each in everything if each.product == product]
    if not versions:
        raise Denied(404, console.pages.text("denied.missing"))
    drifts = await _drifts(request, everything)
    shown = chosen_version(versions, None)
    registry = SqlRegistry(console.database, SystemClock())
    policy = await policy_of(console.config, registry)
    page = console.pages.render(
        "product.html.j2",
        **context_of(request),
        product=product,
        versions=versions[::-1],
        shown=shown,
        previous=await registry.previous(product),
        vouched={each.version: policy.vouched(each) for each in versions},
        drifts=drifts,
        drift=None if drifts is None else drifts.value.get((product, shown.version)),
        drift_hours=console.config.agent.drift_hours,
        threshold=await _threshold(console, shown),
        objections={each.version: objections_of(each.manifest) for each in versions},
        trade=_trade(shown.manifest),
        said=said,
        asked=asked,
        proposal=await open_proposal(console.database, shown),
        x_of=x_of,
        lowest=LOWEST_LEVEL,
        highest=min(HIGHEST_LEVEL, MOST_LEVEL),
    )
    return HTMLResponse(page, status)


async def _drifts(request: Request, versions: Sequence[ProductVersion]) -> Counted[Drifting] | None:
    drifts: Drifts = request.app.state.drifts
    return await drifts.of(console_of(request), versions)


async def _versions(console: Console) -> list[ProductVersion]:
    return await SqlRegistry(console.database, SystemClock()).products()


async def _chosen(request: Request) -> ProductVersion:
    """The version that the address names. Raises Denied if there is none."""
    console, params = console_of(request), request.path_params
    number = params["version"]
    versions = [each for each in await _versions(console) if each.product == params["product"]]
    found = next((each for each in versions if str(each.version) == number), None)
    if found is None:
        raise Denied(404, console.pages.text("denied.missing"))
    return found


async def _threshold(console: Console, version: ProductVersion) -> Threshold | None:
    try:
        enrolled = EnrolledThreshold.of(version.manifest)
    except ArtifactError:
        return None
    parts = await newest_scores(console.database, version.product, version.version, LOOKED_AT)
    levels = [enrolled.level_of(part.score) for part in parts]
    calibration = [enrolled.level_of(score) for score in enrolled.scores]
    return Threshold(
        level=enrolled.level_of(version.threshold),
        statement=enrolled.statement(version.threshold),
        parts=len(parts),
        rejects=_above(parts, version.threshold),
        histogram=histogram(calibration, levels),
    )


async def _change(console: Console, version: ProductVersion, level: float) -> Change:
    parts = await newest_scores(console.database, version.product, version.version, LOOKED_AT)
    score = EnrolledThreshold.of(version.manifest).score_at(level)
    more = sum(version.threshold >= part.score > score for part in parts)
    fewer = sum(score >= part.score > version.threshold for part in parts)
    return Change(len(parts), more, fewer)


def _above(parts: list[ScoredPart], threshold: float) -> int:
    return sum(part.score > threshold for part in parts)


def _level(console: Console, text: str) -> float:
    try:
        level = float(text)
    except ValueError:
        level = math.nan
    if not LOWEST_LEVEL <= level <= HIGHEST_LEVEL:
        raise Denied(400, console.pages.text("threshold.bounds", low=LOWEST_LEVEL, high=HIGHEST_LEVEL))
    return level


def _trade(manifest: Mapping[str, Any]) -> list[tuple[float, int, int]]:
    """Share of good parts that may be rejected, drawn defects found, and drawn, at each threshold of the trade."""
    try:
        points = manifest["evidence"]["detectability"]["trade"]
        return [(point["overkill"], point["total"]["found"], point["total"]["n"]) for point in points]
    except (KeyError, TypeError):
        return []
