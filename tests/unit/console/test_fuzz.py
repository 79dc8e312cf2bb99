"""Whatever a browser sends, no page fails: it shows something, leads elsewhere, or says what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Route

from inspector.domain import Verdict
from tests.unit.console.conftest import HTML, Browser
from tests.unit.console.test_pages import now_rows

ODD = ["", "0", "1", "-1", "9" * 30, "1e999", "nan", "bolt", "cam1", "reject", "..", "\x00", "' OR 1=1--"]
WORDS = st.one_of(st.text(max_size=30), st.sampled_from(ODD))
PLACES = WORDS.filter(lambda text: text not in ("", ".", "..") and "/" not in text)
NAMES = [
    "before", "since", "until", "outcome", "cause", "camera", "product", "lot", "level", "begin", "span", "class",
    "gate", "severity", "queue", "part", "blind", "next", "name", "role", "reason", "label", "result_id", "kind",
    "what", "batch", "head", "profile", "count", "insist", "old", "new",
]  # fmt: skip
FIELDS = st.sampled_from(NAMES)


def routes(app: Starlette) -> list[Route]:
    kept = {"/sign-out", "/line/events", "/people/me"}  # they end the session, or never end
    return [route for route in app.routes if isinstance(route, Route) and route.path not in kept]


def test_no_request_ends_in_a_failure(
    app: Starlette, store: Callable[[Sequence[Verdict]], None], signed_in: Callable[[str], Browser]
) -> None:
    store(now_rows(3))
    engineer = signed_in("eva")
    app.state.console.failed.wait_s = lambda *_: 0.0

    @settings(max_examples=150, suppress_health_check=list(HealthCheck))
    @given(
        route=st.sampled_from(routes(app)),
        places=st.lists(
            WORDS.filter(lambda text: text not in ("", ".", "..") and "/" not in text), min_size=3, max_size=3
        ),
        fields=st.dictionaries(FIELDS, WORDS, max_size=5),
        has_body=st.booleans(),
    )
    def check(route: Route, places: list[str], fields: dict[str, str], has_body: bool) -> None:
        path = route.path.replace("{name:path}", "{name}")
        for number, name in enumerate(sorted(route.param_convertors)):
            path = path.replace(f"{{{name}}}", quote(places[number % 3].encode("utf-8", "replace"), safe=""))
        safe = {key: value.encode("utf-8", "replace").decode() for key, value in fields.items()}
        if "POST" in (route.methods or ()):
            form = {"csrf": engineer.csrf, **safe} if has_body else {"csrf": engineer.csrf}
            answer = engineer.client.post(path, data=form, headers=HTML, follow_redirects=False)
        else:
            answer = engineer.client.get(path, params=safe, headers=HTML, follow_redirects=False)
        assert answer.status_code < 500, (route.path, path, safe, answer.text[:500])

    check()
