"""Who may do what: sessions, roles, and the checks on every request that changes something.

A session's id is made at sign-in and never taken from a browser, so that nobody can fix it beforehand. Its cookie is
read by no script and sent by no other site's form. Each change also carries the session's own token, which other sites
can't read.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from inspector.config.config import Config
from inspector.console.live import Live, Rendering
from inspector.console.passwords import FailedSignIns
from inspector.console.rendering import Pages
from inspector.domain import BrowserSession, Person, Role
from inspector.store.console import people
from inspector.store.database import Database
from inspector.store.pictures.kept import KeptPictures

COOKIE: Final = "inspector_session"
TICKET: Final = "inspector_sign_in"
"""Cookie of the sign-in form, which must come back with it: another site can't sign a browser in."""

_TOKEN_BYTES: Final = 32
_FORM_FIELDS: Final = 100

Endpoint = Callable[[Request], Awaitable[Response]]


class Denied(Exception):
    """The request may not do this. `status` and the sentence go to the browser."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True, slots=True)
class Console:
    """What all pages share."""

    config: Config
    database: Database
    live: Live
    pictures: KeptPictures
    pages: Pages
    rendering: Rendering
    failed: FailedSignIns


def console_of(request: Request) -> Console:
    found: Console = request.app.state.console
    return found


def session_of(request: Request) -> BrowserSession:
    """The session of a request that `needs` has let through."""
    found: BrowserSession = request.state.session
    return found


def needs(role: Role) -> Callable[[Endpoint], Endpoint]:
    """Lets only people of this role, or a higher one, reach the endpoint; a change only with the session's token."""

    def checked(endpoint: Endpoint) -> Endpoint:
        @functools.wraps(endpoint)
        async def guarded(request: Request) -> Response:
            console = console_of(request)
            session = await _session(request)
            if session is None:
                return _to_sign_in(request)
            request.state.session = session
            if not session.person.role.covers(role):
                raise Denied(403, console.pages.text("denied.role", role=role.value))
            if request.method not in ("GET", "HEAD"):
                await _ensure_own_form(request, session)
            return await endpoint(request)

        return guarded

    return checked


async def form_of(request: Request) -> FormData:
    """The fields of the request."""
    return await request.form(max_files=0, max_fields=_FORM_FIELDS, max_part_size=64 * 1024)


def field(form: FormData, name: str) -> str:
    """A field as text without blanks around it; empty where it is missing or a file."""
    value = form.get(name)
    return value.strip() if isinstance(value, str) else ""


async def sign_in(request: Request, person: Person) -> str:
    """Open a new session, whatever the browser had before. Returns the token for its cookie."""
    console = console_of(request)
    if old := request.cookies.get(COOKIE):
        await people.close_session(console.database, old)
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    now = console.live.now()
    until = now + timedelta(hours=console.config.console.session_h)
    csrf = secrets.token_urlsafe(_TOKEN_BYTES)
    await people.open_session(console.database, token, person.name, csrf, now=now, until=until)
    return token


async def sign_out(request: Request) -> None:
    """End the browser's session in the store."""
    if token := request.cookies.get(COOKIE):
        await people.close_session(console_of(request).database, token)


def set_cookie(response: Response, console: Console, name: str, value: str, max_age_s: int) -> None:
    """A cookie that no script reads and no other site's form sends."""
    section = console.config.console
    response.set_cookie(
        name,
        value,
        max_age=max_age_s,
        path="/",
        secure=section.has_tls or section.is_proxied,
        httponly=True,
        samesite="lax",
    )


def local_path(path: str) -> str:
    """The path if it leads to a page of this console, else the first page."""
    is_local = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_local and "\\" not in path else "/"


def is_fragment(request: Request) -> bool:
    """Whether a script asks for a part of a page."""
    return request.headers.get("hx-request") == "true"


async def _session(request: Request) -> BrowserSession | None:
    token = request.cookies.get(COOKIE)
    if not token or len(token) > 200:
        return None
    console = console_of(request)
    return await people.find_session(console.database, token, console.live.now())


def _to_sign_in(request: Request) -> Response:
    if request.method != "GET" or is_fragment(request) or "text/html" not in request.headers.get("accept", ""):
        raise Denied(401, console_of(request).pages.text("denied.signed_out"))
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/sign-in?next={quote(target, safe='')}", 303)


async def _ensure_own_form(request: Request, session: BrowserSession) -> None:
    """Raises Denied for a change that does not come from a page of this session."""
    sent = request.headers.get("x-csrf", "")
    if not sent and not request.headers.get("content-type", "").startswith("multipart/"):
        sent = field(await form_of(request), "csrf")
    if not secrets.compare_digest(sent.encode(), session.csrf.encode()):
        raise Denied(403, console_of(request).pages.text("denied.form"))


def is_same(one: str, other: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell where they differ. Empty ones never are."""
    return bool(one) and secrets.compare_digest(one.encode(), other.encode())


def context_of(request: Request, **more: Any) -> dict[str, Any]:
    """What every page's template needs."""
    session: BrowserSession | None = getattr(request.state, "session", None)
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    live = console_of(request).live
    return {"session": session, "path": request.url.path, "here": here, "live": live, **more}
