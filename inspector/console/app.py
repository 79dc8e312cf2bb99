"""Puts the console together: its addresses, its layers, and the poller that runs beside them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any, Final
from zoneinfo import ZoneInfo

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from inspector.config.config import Config
from inspector.console import rendering
from inspector.console.access import Console, Denied, context_of, is_fragment, needs
from inspector.console.guard import Guard
from inspector.console.live import Live
from inspector.console.pages import (
    audit,
    contain,
    enrol,
    health,
    line,
    nearest,
    part,
    parts,
    people,
    pictures,
    products,
    results,
    review,
    shift,
    signing,
)
from inspector.console.passwords import FailedSignIns
from inspector.console.rendering import Pages
from inspector.domain import BrowserSession, Role
from inspector.errors import InspectorError, LedgerUnavailable, RegistryError, UsageError
from inspector.store.console.hours import RecentPieces, keep_hour
from inspector.store.database import Database
from inspector.store.pictures.kept import KeptPictures

_LOG = logging.getLogger(__name__)

KEPT_BACK: Final = timedelta(days=7)
"""Hours are counted for so long back; the sheets of older shifts count their rows when somebody asks."""

VIEWER, OPERATOR, ENGINEER = Role
MENU: Final = (
    ("line", "/", VIEWER),
    ("review", "/review", OPERATOR),
    ("products", "/products", VIEWER),
    ("shift", "/shift", VIEWER),
    ("parts", "/parts", VIEWER),
    ("results", "/results", VIEWER),
    ("contain", "/contain", VIEWER),
    ("health", "/health", VIEWER),
    ("audit", "/audit", VIEWER),
    ("people", "/people", ENGINEER),
)
"""Pages of the menu: text, address, and whom it is shown to."""


def application(config: Config, database: Database) -> Starlette:
    """The console over this database, which it closes when it ends."""
    zone = ZoneInfo(config.console.zone or "UTC")
    pictures_kept = KeptPictures(config.agent.state_dir)
    pages = Pages(zone)
    pages.add_global("menu", _menu)
    live = Live(config, database, pictures_kept, zone)
    app = Starlette(
        routes=routes(),
        middleware=[Middleware(Guard, section=config.console)],
        exception_handlers={
            Denied: _denied,
            HTTPException: _missing,
            InspectorError: _failed,
            Exception: _broken,
        },
        lifespan=_lifespan,
    )
    app.router.redirect_slashes = False
    app.state.console = Console(config, database, live, pictures_kept, pages, pages.live(), FailedSignIns())
    app.state.chain = audit.Chain()
    app.state.accounts = parts.Accounts()
    app.state.drifts = products.Drifts()
    app.state.recent = RecentPieces()
    app.state.containments = contain.Containments()
    app.state.seen = review.SeenPictures()
    app.state.nearest = nearest.NearestGoods(config)
    return app


def routes() -> list[Route]:
    """Every path of the console, each with the least role that may ask for it."""
    return [
        Route("/static/{digest}/{name:path}", _static),
        Route("/alive", _alive),
        Route("/sign-in", signing.show_form, methods=["GET"]),
        Route("/sign-in", signing.take_form, methods=["POST"]),
        Route("/sign-out", needs(VIEWER)(signing.leave), methods=["POST"]),
        Route("/", needs(VIEWER)(line.show)),
        Route("/line/events", needs(VIEWER)(line.events)),
        Route("/part/{result_id}", needs(VIEWER)(part.show)),
        Route("/part/{result_id}/nearest", needs(VIEWER)(nearest.show)),
        Route("/part/{result_id}/nearest/{which}", needs(VIEWER)(nearest.picture)),
        Route("/pictures/{result_id}/{kind}", needs(VIEWER)(pictures.show)),
        Route("/review", needs(OPERATOR)(review.show), methods=["GET"]),
        Route("/review", needs(OPERATOR)(review.take), methods=["POST"]),
        Route("/review/undo", needs(OPERATOR)(review.undo), methods=["POST"]),
        Route("/products", needs(VIEWER)(products.show_all)),
        Route("/products/{product}", needs(VIEWER)(products.show)),
        Route("/products/{product}/shadow", needs(VIEWER)(products.shadow)),
        Route("/products/{product}/rollback", needs(ENGINEER)(products.roll_back), methods=["POST"]),
        Route("/products/{product}/{version}/preview", needs(VIEWER)(products.preview)),
        Route("/products/{product}/{version}/report", needs(VIEWER)(products.report)),
        Route("/products/{product}/{version}/threshold", needs(ENGINEER)(products.move_threshold), methods=["POST"]),
        Route("/products/{product}/{version}/proposal", needs(ENGINEER)(products.propose), methods=["POST"]),
        Route("/products/{product}/{version}/approval", needs(ENGINEER)(products.approve), methods=["POST"]),
        Route("/products/{product}/{version}/activate", needs(ENGINEER)(products.activate), methods=["POST"]),
        Route("/enrol", needs(ENGINEER)(enrol.show), methods=["GET"]),
        Route("/enrol", needs(ENGINEER)(enrol.ask), methods=["POST"]),
        Route("/uploads/{batch}", needs(ENGINEER)(enrol.upload), methods=["POST"]),
        Route("/jobs/{number}", needs(ENGINEER)(enrol.show_job), methods=["GET"]),
        Route("/jobs/{number}/cancel", needs(ENGINEER)(enrol.cancel), methods=["POST"]),
        Route("/parts", needs(VIEWER)(parts.show)),
        Route("/shift", needs(VIEWER)(shift.show)),
        Route("/shift.csv", needs(VIEWER)(shift.as_csv)),
        Route("/results", needs(VIEWER)(results.show)),
        Route("/contain", needs(VIEWER)(contain.show)),
        Route("/contain.csv", needs(VIEWER)(contain.as_csv)),
        Route("/health", needs(VIEWER)(health.show)),
        Route("/audit", needs(VIEWER)(audit.show)),
        Route("/people", needs(ENGINEER)(people.show), methods=["GET"]),
        Route("/people", needs(ENGINEER)(people.add), methods=["POST"]),
        Route("/people/me", needs(VIEWER)(people.show_own), methods=["GET"]),
        Route("/people/me", needs(VIEWER)(people.change_own), methods=["POST"]),
        Route("/people/{name}", needs(ENGINEER)(people.change), methods=["POST"]),
    ]


@contextlib.asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    console: Console = app.state.console
    poller = asyncio.create_task(console.live.run(console.rendering), name="poller")
    poller.add_done_callback(_say_how_it_ended)
    keeper = asyncio.create_task(_keep_hours(console), name="hours")
    async with console.database:
        try:
            yield
        finally:
            console.live.stop()
            keeper.cancel()
            await asyncio.wait({poller, keeper})
            for each in (app.state.accounts, app.state.drifts, app.state.containments):
                await each.counts.close()
            app.state.nearest.close()


async def _keep_hours(console: Console) -> None:
    """Count each hour that is over, newest first, with pauses that leave the database to the line."""
    while True:
        try:
            is_more = await keep_hour(console.database, console.live.now(), KEPT_BACK)
        except InspectorError as error:
            _LOG.warning("hours are not counted: %s", error)
            is_more = False
        await asyncio.sleep(1.0 if is_more else 60.0)


def _say_how_it_ended(poller: asyncio.Task[Any]) -> None:
    if not poller.cancelled() and (error := poller.exception()) is not None:
        _LOG.critical("the poller of the line page ended: %r", error)


def _menu(session: BrowserSession) -> list[tuple[str, str]]:
    return [(name, target) for name, target, role in MENU if session.person.role.covers(role)]


async def _static(request: Request) -> Response:
    """A file of `static/`. Its address holds its digest, so that browsers keep it."""
    name = PurePosixPath(request.path_params["name"])
    known = {path.relative_to(rendering.STATIC).as_posix() for path in rendering.STATIC.rglob("*") if path.is_file()}
    if name.as_posix() not in known:
        return PlainTextResponse("", 404)
    return FileResponse(rendering.STATIC / name, headers={"cache-control": "public, max-age=31536000, immutable"})


async def _alive(request: Request) -> Response:
    """For whoever watches this process; says nothing else."""
    del request
    return PlainTextResponse("alive\n")


async def _denied(request: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, Denied) else 403
    return _page(request, status, str(error))


async def _missing(request: Request, error: Exception) -> Response:
    status, headers = (error.status_code, error.headers) if isinstance(error, HTTPException) else (404, None)
    return _page(request, status, _text(request, "denied.missing"), dict(headers or {}))


async def _failed(request: Request, error: Exception) -> Response:
    """A known failure says itself what to do about it."""
    status = (
        503 if isinstance(error, LedgerUnavailable) else 400 if isinstance(error, UsageError | RegistryError) else 409
    )
    return _page(request, status, str(error))


async def _broken(request: Request, error: Exception) -> Response:
    _LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _page(request, 500, _text(request, "denied.failed"))


def _text(request: Request, name: str) -> str:
    console: Console = request.app.state.console
    return console.pages.text(name)


def _page(request: Request, status: int, said: str, headers: dict[str, str] | None = None) -> Response:
    console: Console = request.app.state.console
    if is_fragment(request) or "text/html" not in request.headers.get("accept", ""):
        return PlainTextResponse(said, status, headers)
    page = console.pages.render("denied.html.j2", **context_of(request), said=said)
    return HTMLResponse(page, status, headers)
