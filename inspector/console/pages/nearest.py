"""The good spot beside the suspicious one, looked for when somebody opens a part, on one thread that gives way."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from inspector.agent.clock import SystemClock
from inspector.config.config import Config
from inspector.console.access import Console, console_of, context_of
from inspector.console.pages.pictures import verdict_of
from inspector.domain import Verdict
from inspector.enrolment.nearest_good import NearestFinder, NearestGood, Spot
from inspector.errors import InspectorError
from inspector.store.pictures.folders import read_kept
from inspector.store.pictures.images import give_way
from inspector.store.pictures.overlay import Undrawable, cropped_jpeg
from inspector.store.registry.registry import SqlRegistry

SHOWN_PX: Final = 360
KEPT: Final = 64


@dataclass(frozen=True, slots=True)
class NearestPictures:
    """The two spots as JPEGs of one size, and the good image's name."""

    here: bytes
    good: bytes
    name: str


class NearestGoods:
    """Looks for good spots, one after another, and keeps the newest answers."""

    def __init__(self, config: Config) -> None:
        self._finder = NearestFinder(config)
        self._thread = ThreadPoolExecutor(1, "nearest-good", initializer=give_way)
        self._known: OrderedDict[str, NearestPictures | str] = OrderedDict()

    async def of(self, console: Console, verdict: Verdict) -> NearestPictures | str:
        """The pictures, or a phrase that says why there are none."""
        known = self._known.get(verdict.result_id)
        if known is None:
            known = await self._look(console, verdict)
            self._known[verdict.result_id] = known
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        return known

    async def _look(self, console: Console, verdict: Verdict) -> NearestPictures | str:
        text = console.pages.text
        path = await asyncio.to_thread(console.pictures.frame, verdict.result_id, verdict.camera, verdict.decided_at)
        if path is None or not verdict.regions or verdict.product is None or verdict.product_version is None:
            return text("part.nearest.no_picture")
        try:
            registry = SqlRegistry(console.database, SystemClock())
            artifact = await registry.artifact(verdict.product, verdict.product_version)
            product, regions = verdict.product, verdict.regions
            return await asyncio.get_running_loop().run_in_executor(
                self._thread, lambda: _drawn(self._finder.find(read_kept(path), regions, product, artifact))
            )
        except (InspectorError, Undrawable) as error:
            return str(error)
        except OSError:
            return text("part.nearest.no_picture")

    def close(self) -> None:
        """End the thread once its work is done."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _drawn(found: NearestGood) -> NearestPictures:
    return NearestPictures(_cut(found.here), _cut(found.good), found.name)


def _cut(spot: Spot) -> bytes:
    return cropped_jpeg(spot.payload, spot.box, SHOWN_PX)


async def show(request: Request) -> Response:
    """The section of the part's page."""
    console, verdict = console_of(request), await verdict_of(request)
    found = await _goods(request).of(console, verdict)
    page = console.pages.render("_nearest.html.j2", **context_of(request), verdict=verdict, found=found)
    return HTMLResponse(page)


async def picture(request: Request) -> Response:
    """One of the two spots."""
    console, verdict = console_of(request), await verdict_of(request)
    found = await _goods(request).of(console, verdict)
    if isinstance(found, str):
        return Response(status_code=404)
    content = found.good if request.path_params["which"] == "good" else found.here
    return Response(content, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})


def _goods(request: Request) -> NearestGoods:
    found: NearestGoods = request.app.state.nearest
    return found
