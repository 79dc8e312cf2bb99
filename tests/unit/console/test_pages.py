"""What the pages show of a store, and that nothing in it can act in a browser."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from inspector.config.config import Config
from inspector.console.rendering import ROOM
from inspector.console.texts import TEXTS
from inspector.domain import Action, Cause, Outcome, Region, Verdict
from inspector.store.console.agents import SeenAgent, note_alive, note_ended
from inspector.store.database import configured
from inspector.testing.samples import verdict_of_part
from tests.unit.console.conftest import Browser

Store = Callable[[Sequence[Verdict]], None]
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


def now_rows(count: int, **changes: object) -> list[Verdict]:
    at = datetime.now(UTC)
    return [
        verdict_of_part(number, received_at=at - timedelta(seconds=count - number), decided_at=at, **changes)
        for number in range(count)
    ]


def test_hostile_names_in_rows_are_only_text(store: Store, signed_in: Callable[[str], Browser]) -> None:
    rows = now_rows(
        3, product=EVIL, lot=EVIL, part_id=EVIL, cause_detail=EVIL, frame_id=EVIL, agent=EVIL, engine=EVIL, job_id=EVIL
    )
    store(rows)
    viewer = signed_in("vera")
    for path in ("/", "/results", f"/results?product={EVIL}&lot={EVIL}", f"/part/{rows[0].result_id}", "/health"):
        page = viewer.get(path)
        assert "<script>alert" not in page, path
        assert "<img src=x" not in page, path


def test_results_are_paged_without_loss_or_repetition(store: Store, signed_in: Callable[[str], Browser]) -> None:
    rows = now_rows(120)
    store(rows)
    viewer, path, seen = signed_in("vera"), "/results?camera=cam1", []
    while path:
        page = viewer.get(path)
        seen += re.findall(r'href="/part/([0-9a-f-]+)"', page)
        older = re.search(r'href="(/results\?[^"]*before=[^"]*)"', page)
        path = older[1].replace("&amp;", "&") if older else ""
    assert seen == [row.result_id for row in reversed(rows)]


@pytest.mark.parametrize("query", ["before=x", "since=yesterday", "outcome=nice", "cause=%00", "until=9", "lot=%ff"])
def test_results_ignore_what_a_query_cant_mean(store: Store, signed_in: Callable[[str], Browser], query: str) -> None:
    store(now_rows(2))
    assert signed_in("vera").status(f"/results?{query}") == 200


def test_part_shows_its_facts_and_its_neighbours(store: Store, signed_in: Callable[[str], Browser]) -> None:
    rows = now_rows(5)
    regions = (Region(1, 2, 30, 40, 900, 1.75),)
    rows[2] = verdict_of_part(
        2,
        received_at=rows[2].received_at,
        outcome=Outcome.REJECT,
        cause=Cause.ANOMALY,
        action=Action.REJECT,
        level=1.5,
        lot="L7",
        regions=regions,
    )
    store(rows)
    page = signed_in("vera").get(f"/part/{rows[2].result_id}")
    for shown in ("Reject", "bolt", "L7", "1.75", "30 \u00d7 40 px", rows[1].result_id, rows[3].result_id):
        assert shown in page


@pytest.mark.parametrize("path", ["/part/nothing", "/part/00000000-0000-5000-8000-000000000000", "/nowhere"])
def test_pages_that_are_not_there_say_so(signed_in: Callable[[str], Browser], path: str) -> None:
    assert signed_in("vera").status(path) == 404


def test_line_shows_each_camera_and_what_needs_a_person(store: Store, signed_in: Callable[[str], Browser]) -> None:
    late = now_rows(3, outcome=Outcome.UNJUDGED, cause=Cause.LATE, action=Action.PASS, camera="cam2", trigger_id=None)
    store([*now_rows(3), *late])
    signed_in("vera").until("/", "cam1", "cam2", "told late or never", "passed unjudged")


def test_agent_that_was_stopped_is_no_alarm_and_one_that_died_is(
    console_config: Config, signed_in: Callable[[str], Browser]
) -> None:
    now = datetime.now(UTC)

    async def note(name: str, ended: timedelta | None) -> None:
        async with configured(console_config) as database:
            long_ago = now - timedelta(minutes=9)
            await note_alive(database, SeenAgent(name, "inspector 1", long_ago, long_ago), "c")
            if ended is not None:
                await note_ended(database, name, now - ended, EVIL)

    asyncio.run(note("agent2", timedelta(days=2)))
    asyncio.run(note("agent1", timedelta(minutes=5)))  # the last, because the page is awaited until it shows it
    viewer = signed_in("vera")
    page = viewer.until("/", "Agent agent1 was stopped at")
    assert "silent" not in page
    assert "agent2" not in page
    assert EVIL not in page
    health = viewer.get("/health")
    assert len(re.findall("stopped 20[0-9: -]+, by &lt;script", health)) == 2
    assert 'class="state bad"' not in health
    asyncio.run(note("agent1", None))
    page = viewer.until("/", "Agent agent1 is silent since")
    assert "was stopped" not in page
    assert 'class="state bad"' in viewer.get("/health")


def test_line_without_anything_says_what_to_do(signed_in: Callable[[str], Browser]) -> None:
    assert "Waiting for the first picture" in signed_in("vera").get("/")


def test_health_names_a_broken_audit_nowhere_and_the_audit_page_does(
    store: Store, signed_in: Callable[[str], Browser], console_config: object
) -> None:
    assert "The chain holds" in signed_in("vera").get("/audit")


def templates() -> list[Path]:
    return sorted((ROOM / "templates").glob("*.j2"))


@pytest.mark.parametrize("path", templates(), ids=lambda path: path.name)
def test_template_has_no_text_of_its_own(path: Path) -> None:
    """All English is in texts.py, so that another language is one file."""
    text = re.sub(r"\{#.*?#\}|\{\{.*?\}\}|\{%.*?%\}", " ", path.read_text(), flags=re.DOTALL)
    text = re.sub(r"[\w-]+=(\"[^\"]*\"|'[^']*')", "", text)  # attributes
    text = re.sub(r"<[^<>]*>|&\w+;", " ", text)
    assert set(re.findall(r"[A-Za-z]{2,}", text)) <= {"px", "ms", "late", "bypass"}


def test_every_text_is_used() -> None:
    """A text that nothing shows is removed."""
    sources = [*ROOM.rglob("*.py"), *ROOM.rglob("*.j2")]
    code = "\n".join(path.read_text() for path in sources if path.name != "texts.py")
    made = (
        "outcome.",
        "cause.",
        "action.",
        "mode.",
        "role.",
        "severity.",
        "menu.",
        "stage.",
        "label.",
        "line.",
        "queue.",
        "class.",
        "contain.span.",
        "job.",
        "parts.span.",
        "shift.",
    )
    unused = [name for name in TEXTS if f'"{name}"' not in code and not name.startswith(made)]
    assert unused == []


def test_every_outcome_cause_and_action_has_its_text() -> None:
    for group, words in (("outcome", Outcome), ("cause", Cause), ("action", Action)):
        assert [word for word in words if f"{group}.{word.value}" not in TEXTS] == []
