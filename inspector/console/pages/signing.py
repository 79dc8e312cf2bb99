"""Signing in and out."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from inspector.console.access import (
    COOKIE,
    TICKET,
    console_of,
    context_of,
    field,
    form_of,
    is_same,
    local_path,
    set_cookie,
    sign_in,
    sign_out,
)
from inspector.console.passwords import is_right
from inspector.console.wording import span
from inspector.store.console.people import credentials_of

_TICKET_S: Final = 3600


async def show_form(request: Request) -> Response:
    """The form, with a ticket that must come back with it."""
    return _form(request, "", local_path(request.query_params.get("next", "/")), 200)


async def take_form(request: Request) -> Response:
    """Sign in, or show the form again with the reason why not."""
    console = console_of(request)
    form = await form_of(request)
    name, password = field(form, "name"), str(form.get("password", ""))
    target = local_path(field(form, "next"))
    if not is_same(request.cookies.get(TICKET, ""), field(form, "ticket")):
        return _form(request, console.pages.text("sign_in.old"), target, 400, name)
    address = request.client.host if request.client else ""
    if wait_s := console.failed.wait_s(name, address, time.monotonic()):
        said = console.pages.text("sign_in.wait", wait=span(wait_s))
        response = _form(request, said, target, 429, name)
        response.headers["retry-after"] = str(math.ceil(wait_s))
        return response
    console.failed.note(name, address, time.monotonic())  # before the slow comparison, so that many at once count
    known = await credentials_of(console.database, name)
    if (
        not await asyncio.to_thread(is_right, password, known[1] if known else None)
        or known is None
        or known[0].is_locked
    ):
        return _form(request, console.pages.text("sign_in.wrong"), target, 401, name)
    console.failed.forget(name, address)
    response = RedirectResponse(target, 303)
    hours = console.config.console.session_h
    set_cookie(response, console, COOKIE, await sign_in(request, known[0]), int(hours * 3600))
    response.delete_cookie(TICKET, path="/")
    return response


async def leave(request: Request) -> Response:
    """Sign out."""
    await sign_out(request)
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(COOKIE, path="/")
    return response


def _form(request: Request, said: str, target: str, status: int, name: str = "") -> Response:
    console, ticket = console_of(request), secrets.token_urlsafe(24)
    page = console.pages.render(
        "sign_in.html.j2", **context_of(request), ticket=ticket, next=target, said=said, name=name[:64]
    )
    response = HTMLResponse(page, status)
    set_cookie(response, console, TICKET, ticket, _TICKET_S)
    return response
