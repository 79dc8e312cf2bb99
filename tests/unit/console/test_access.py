"""Who gets in, and what keeps others out: sessions, roles, forms of other sites, guessed passwords."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from inspector.config.config import Config
from inspector.config.loading import parse
from inspector.console import passwords
from inspector.console.access import COOKIE, TICKET, local_path
from inspector.errors import ConfigError
from inspector.store import audit
from inspector.store.database import configured
from tests.unit.console.conftest import HTML, PASSWORD, Browser

OPEN = {"/static/{digest}/{name:path}", "/alive", "/sign-in"}


def routes(app: Starlette) -> list[Route]:
    return [route for route in app.routes if isinstance(route, Route)]


def address(route: Route) -> str:
    return re.sub(r"\{[^}]*\}", "x", route.path)


def test_every_page_without_a_session_leads_to_the_sign_in(app: Starlette, browser: Browser) -> None:
    for route in routes(app):
        if route.path in OPEN or "GET" not in (route.methods or ()):
            continue
        answer = browser.client.get(address(route), headers=HTML, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"][:8]) == (303, "/sign-in"), route.path


def test_every_change_without_a_session_is_refused(app: Starlette, browser: Browser) -> None:
    for route in routes(app):
        if route.path not in OPEN and "POST" in (route.methods or ()):
            assert browser.client.post(address(route), data={"csrf": "x"}).status_code == 401, route.path


def test_every_change_without_the_sessions_token_is_refused(
    app: Starlette, signed_in: Callable[[str], Browser]
) -> None:
    engineer = signed_in("eva")
    for route in routes(app):
        if route.path not in OPEN and "POST" in (route.methods or ()):
            for token in ("", "x", signed_in("otto").csrf):
                engineer_token, engineer.csrf = engineer.csrf, token
                assert engineer.post(address(route)) == 403, route.path
                engineer.csrf = engineer_token


def test_viewer_changes_nothing_by_direct_requests(app: Starlette, signed_in: Callable[[str], Browser]) -> None:
    viewer = signed_in("vera")
    own = {"/sign-out", "/people/me"}
    for route in routes(app):
        if route.path not in OPEN | own and "POST" in (route.methods or ()):
            assert viewer.post(address(route)) == 403, route.path


def test_sign_in_makes_a_new_session_and_ends_the_one_before(
    browser: Browser, signed_in: Callable[[str], Browser]
) -> None:
    browser.carry("chosen-by-somebody-else")
    assert browser.sign_in("vera") == 303
    first = browser.token
    assert first != "chosen-by-somebody-else"
    assert browser.sign_in("vera") == 303
    assert browser.token != first
    thief = signed_in("otto")
    thief.carry(first)
    assert thief.status("/") == 303


def test_sign_in_without_the_forms_ticket_is_refused(browser: Browser) -> None:
    answer = browser.client.post("/sign-in", data={"name": "eva", "password": PASSWORD}, headers=HTML)
    assert answer.status_code == 400
    assert browser.status("/") == 303


def test_sign_in_with_wrong_words_does_not_tell_which_was_wrong(browser: Browser) -> None:
    assert browser.sign_in("eva", "wrong") == 401
    assert browser.sign_in("nobody", "wrong") == 401


def test_sign_in_after_many_wrong_passwords_has_to_wait_also_with_the_right_one(browser: Browser) -> None:
    for _ in range(passwords.FAILURES):
        assert browser.sign_in("eva", "wrong") == 401
    assert browser.sign_in("eva") == 429
    assert browser.sign_in("otto") == 303


def test_failed_sign_ins_are_forgotten_with_time() -> None:
    failed = passwords.FailedSignIns()
    for _ in range(passwords.FAILURES):
        failed.note("eva", "10.0.0.1", 100.0)
    assert failed.wait_s("EVA", "10.0.0.1", 100.0) > 0
    assert failed.wait_s("eva", "10.0.0.2", 100.0) == 0
    assert failed.wait_s("eva", "10.0.0.1", 101.0 + passwords.FAILURES_OVER_S) == 0


def test_session_cookie_is_out_of_reach_for_scripts_and_other_sites(browser: Browser) -> None:
    ticket = re.search(r'name="ticket" value="([^"]+)"', browser.get("/sign-in"))
    assert ticket is not None
    form = {"ticket": ticket[1], "name": "eva", "password": PASSWORD}
    headers = {"cookie": f"{TICKET}={ticket[1]}"}
    answer = browser.client.post("/sign-in", data=form, headers=headers, follow_redirects=False)
    cookie = next(each for each in answer.headers.get_list("set-cookie") if each.startswith(COOKIE)).lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie


def test_sign_out_ends_the_session_itself(signed_in: Callable[[str], Browser]) -> None:
    person = signed_in("vera")
    assert person.post("/sign-out") == 303
    assert person.status("/") == 303


def test_requests_of_other_sites_and_other_names_are_refused(signed_in: Callable[[str], Browser]) -> None:
    engineer = signed_in("eva")
    form = {"csrf": engineer.csrf, "old": "x", "new": "y"}
    for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}):
        assert engineer.client.post("/people/me", data=form, headers=headers).status_code == 403
    assert engineer.client.get("/", headers={"host": "evil.example"}).status_code == 421


def test_pages_allow_no_script_but_their_own(browser: Browser) -> None:
    headers = browser.client.get("/sign-in").headers
    assert headers["content-security-policy"].startswith("default-src 'self'; ")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("path", ["//evil.example", "/\\evil.example", "https://evil.example", "evil", "/a\nb"])
def test_local_path_leads_to_no_other_site(path: str) -> None:
    assert local_path(path) == "/"


@pytest.mark.parametrize(
    "path",
    [
        "/static/x/../app.py",
        "/static/x/..%2fapp.py",
        "/static/x/%2e%2e/%2e%2e/access.py",
        "/static/x//etc/passwd",
        "/pictures/..%2f..%2finspector.db/frame",
        "/pictures/%2e%2e/frame",
        "/part/..%2fx/nearest/good",
    ],
)
def test_paths_out_of_the_folders_lead_nowhere(signed_in: Callable[[str], Browser], path: str) -> None:
    assert signed_in("vera").status(path) == 404


def test_requests_larger_than_a_form_are_refused(browser: Browser) -> None:
    assert browser.client.post("/sign-in", content=b"x" * 1_000_000).status_code == 413


def test_person_is_added_with_a_password_that_is_shown_once_and_audited(
    signed_in: Callable[[str], Browser], browser: Browser, console_config: Config
) -> None:
    engineer = signed_in("eva")
    answer = engineer.client.post(
        "/people",
        data={"csrf": engineer.csrf, "name": "nora", "role": "operator", "reason": "new at line 2"},
        headers=HTML,
    )
    made = re.search(r"[a-z0-9]{4}(-[a-z0-9]{4}){3}", answer.text)
    assert made is not None
    assert made[0] not in engineer.get("/people")
    assert browser.sign_in("nora", made[0]) == 303
    assert "new at line 2" in engineer.get("/audit")

    async def verified() -> list[int]:
        async with configured(console_config) as database:
            return await audit.verify(database)

    assert asyncio.run(verified()) == []


def test_last_engineer_stays_one(signed_in: Callable[[str], Browser]) -> None:
    engineer = signed_in("eva")
    assert engineer.post("/people/eva", what="role", role="viewer", reason="less to do") == 400
    assert "/people" in engineer.get("/")


def test_new_role_ends_the_sessions_of_the_person(signed_in: Callable[[str], Browser]) -> None:
    operator, engineer = signed_in("otto"), signed_in("eva")
    assert engineer.post("/people/otto", what="role", role="viewer", reason="left the line") == 303
    assert operator.status("/") == 303


def test_own_password_needs_the_old_one(signed_in: Callable[[str], Browser], browser: Browser) -> None:
    person = signed_in("vera")
    assert person.post("/people/me", old="wrong", new="another long one") == 400
    assert person.post("/people/me", old=PASSWORD, new="short") == 400
    assert person.post("/people/me", old=PASSWORD, new="another long one") == 303
    assert browser.sign_in("vera") == 401
    assert browser.sign_in("vera", "another long one") == 303


@pytest.mark.parametrize("listen", ["0.0.0.0:8420", "192.0.2.7:8420", "[::]:8420", "console.plant.example:8420"])
def test_console_beyond_this_machine_without_tls_is_refused_unless_told(listen: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="allow_plain"):
        parse({"console": {"listen": listen}}, None)
    parse({"console": {"listen": listen, "allow_plain": True}}, None)
    parse({"console": {"listen": listen, "cert_file": "/c.pem", "key_file": "/c.key"}}, None)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:8420", "[::1]:8420", "127.9.9.9:1"])
def test_console_on_this_machine_needs_no_tls(listen: str) -> None:
    assert parse({"console": {"listen": listen}}, None).console.is_loopback


@pytest.mark.parametrize("listen", ["8420", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999", ":1 2", "http://a:1"])
def test_listen_that_is_no_address_is_refused(listen: str) -> None:
    with pytest.raises(ConfigError, match=r"console\.listen"):
        parse({"console": {"listen": listen}}, None)
