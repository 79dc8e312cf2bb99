"""People: who may do what, and everybody's own password."""

from __future__ import annotations

import asyncio
from re import fullmatch

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from inspector.config.section import NAME_PATTERN
from inspector.console.access import COOKIE, console_of, context_of, field, form_of, session_of
from inspector.console.passwords import LEAST_CHARACTERS, ensure_strong, hashed, is_right, made_up
from inspector.domain import Role
from inspector.errors import UsageError
from inspector.operation.reasons import ensure_reason
from inspector.store.console import people


async def show(request: Request) -> Response:
    """Everybody, for engineers."""
    return await _page(request)


async def add(request: Request) -> Response:
    """Add a person with a made-up password, which the page shows once."""
    console, form = console_of(request), await form_of(request)
    name, role, password = field(form, "name"), field(form, "role"), made_up()
    try:
        if not fullmatch(NAME_PATTERN, name):
            raise UsageError("A name has letters, digits, dots, dashes and underscores, at most 64 of them.")
        ensure_reason(field(form, "reason"), "A new person")
        stored = await asyncio.to_thread(hashed, password)
        await people.add_person(
            console.database,
            name,
            _role(role),
            stored,
            now=console.live.now(),
            by=session_of(request).person.name,
            reason=field(form, "reason"),
        )
    except UsageError as error:
        return await _page(request, said=str(error), status=400)
    return await _page(request, said=console.pages.text("people.password.made", name=name, password=password))


async def change(request: Request) -> Response:
    """Change a role, lock a person out or in, or make a new password."""
    console, form = console_of(request), await form_of(request)
    name, reason = request.path_params["name"], field(form, "reason")
    by, now, said = session_of(request).person.name, console.live.now(), ""
    try:
        ensure_reason(reason, "A change of a person")
        if field(form, "what") == "password":
            password = made_up()
            stored = await asyncio.to_thread(hashed, password)
            await people.set_password(console.database, name, stored, now=now, by=by, reason=reason)
            said = console.pages.text("people.password.made", name=name, password=password)
        else:
            role, is_locked = _role(field(form, "role")), field(form, "locked") == "yes"
            await people.set_role(console.database, name, role, is_locked=is_locked, now=now, by=by, reason=reason)
    except UsageError as error:
        return await _page(request, said=str(error), status=400)
    return await _page(request, said=said) if said else RedirectResponse("/people", 303)


async def show_own(request: Request) -> Response:
    """The form for one's own password."""
    return _own_page(request, "", 200)


async def change_own(request: Request) -> Response:
    """Change one's own password, which ends all one's sessions."""
    console, form = console_of(request), await form_of(request)
    person, new = session_of(request).person, str(form.get("new", ""))
    known = await people.credentials_of(console.database, person.name)
    if not await asyncio.to_thread(is_right, str(form.get("old", "")), known[1] if known else None):
        return _own_page(request, console.pages.text("sign_in.wrong"), 400)
    try:
        ensure_strong(new, person.name)
    except UsageError as error:
        return _own_page(request, str(error), 400)
    stored = await asyncio.to_thread(hashed, new)
    await people.set_password(
        console.database, person.name, stored, now=console.live.now(), by=person.name, reason="own password"
    )
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(COOKIE, path="/")
    return response


def _role(word: str) -> Role:
    try:
        return Role(word)
    except ValueError:
        raise UsageError(f"A role is one of {', '.join(Role)}.") from None


def _own_page(request: Request, said: str, status: int) -> Response:
    page = console_of(request).pages.render(
        "own_password.html.j2", **context_of(request), said=said, least=LEAST_CHARACTERS
    )
    return HTMLResponse(page, status)


async def _page(request: Request, said: str = "", status: int = 200) -> Response:
    console = console_of(request)
    page = console.pages.render(
        "people.html.j2",
        **context_of(request),
        people=await people.list_people(console.database),
        roles=list(Role),
        said=said,
    )
    return HTMLResponse(page, status)
