"""Whatever a browser sends, no page fails: it shows something, leads elsewhere, or says what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Route

import inspector.console
from inspector.console.app import routes
from inspector.domain import Verdict
from tests.unit.console.conftest import HTML, Browser
from tests.unit.console.test_pages import now_rows

ODD = ["", "0", "1", "-1", "9" * 30, "1e999", "nan", "bolt", "cam1", "reject", "..", "\x00", "' OR 1=1--"]
WORDS = st.one_of(st.text(max_size=30), st.sampled_from(ODD))
PLACES = WORDS.filter(lambda text: text not in ("", ".", "..") and "/" not in text)
NAMES = [
    "before", "since", "until", "outcome", "cause", "camera", "product", "lot", "level", "begin", "span", "class",
    "gate", "severity", "queue", "part", "blind", "next", "name", "role", "reason", "label", "result_id", "kind",
    "what", "batch", "head", "profile", "count", "insist", "old", "new", "action", "undo", "shadow", "password",
    "note", "locked",
]  # fmt: skip
FIELDS = st.sampled_from(NAMES)
ROOM = Path(inspector.console.__file__).parent
READ = re.compile(r"""(?:(?:query|query_params|form)(?:\.get\(|\[)|\bfield\(\w+, )"(\w+)\"""")
"""How the pages ask for a parameter of a request."""

TAKEN = frozenset({"csrf", "ticket"})
"""Sent with the right value, or nothing behind them is reached."""

ENDLESS = frozenset({"/line/events"})
ENDS_THE_SESSION = frozenset({("/sign-out", "POST"), ("/people/me", "POST")})
MOVES = [
    (route.path, method)
    for route in routes()
    for method in sorted((route.methods or set()) - {"HEAD"})
    if route.path not in ENDLESS
]
"""Every path of the console with each of its methods. A new route is in it by itself."""


def test_every_route_is_fuzzed(app: Starlette) -> None:
    found = [route for route in app.routes if isinstance(route, Route)]
    assert len(found) == len(app.routes), "another kind of route, which nothing here asks"
    there = {(route.path, method) for route in found for method in (route.methods or set()) - {"HEAD"}}
    assert there - {(path, "GET") for path in ENDLESS} == set(MOVES)


def test_every_parameter_that_a_page_reads_is_fuzzed() -> None:
    read = {name for path in ROOM.rglob("*.py") for name in READ.findall(path.read_text(encoding="utf-8"))}
    assert len(read) > 25, read
    assert read <= {*NAMES, *TAKEN}


@pytest.mark.parametrize("kind", ["GET", "POST"])
def test_no_request_ends_in_a_failure(
    app: Starlette,
    store: Callable[[Sequence[Verdict]], None],
    signed_in: Callable[[str], Browser],
    kind: str,
) -> None:
    store(now_rows(3))
    engineer = signed_in("eva")
    app.state.console.failed.wait_s = lambda *_: 0.0
    wanted = [(path, method) for path, method in MOVES if method == kind and (path, method) not in ENDS_THE_SESSION]

    @settings(max_examples=8, suppress_health_check=list(HealthCheck), deadline=None)
    @given(
        places=st.lists(PLACES, min_size=3, max_size=3),
        fields=st.dictionaries(FIELDS, WORDS, max_size=12),
        query=st.dictionaries(FIELDS, WORDS, max_size=2),
    )
    def check(places: list[str], fields: dict[str, str], query: dict[str, str]) -> None:
        for path, method in wanted:
            ask(engineer, path, method, places, fields, query)

    check()


@pytest.mark.parametrize(("path", "method"), sorted(ENDS_THE_SESSION))
def test_no_request_that_ends_a_session_ends_in_a_failure(
    signed_in: Callable[[str], Browser], path: str, method: str
) -> None:
    viewer = signed_in("vera")
    for word in ODD:
        ask(viewer, path, method, [], dict.fromkeys(NAMES, word), {})


def ask(
    visitor: Browser, path: str, method: str, places: list[str], fields: dict[str, str], query: dict[str, str]
) -> None:
    filled = path.replace("{name:path}", "{name}")
    for number, name in enumerate(re.findall(r"\{(\w+)\}", filled)):
        filled = filled.replace(f"{{{name}}}", quote(places[number].encode("utf-8", "replace"), safe=""))
    safe, asked = (
        {key: value.encode("utf-8", "replace").decode() for key, value in some.items()} for some in (fields, query)
    )
    if method == "POST":
        answer = visitor.client.post(
            filled, params=asked, data={"csrf": visitor.csrf, **safe}, headers=HTML, follow_redirects=False
        )
    else:
        answer = visitor.client.request(method, filled, params={**safe, **asked}, headers=HTML, follow_redirects=False)
    assert answer.status_code < 500, (path, filled, safe, asked, answer.text[:500])
