"""The shift sheet and its CSV, the account of parts, and enrolments asked for."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import re
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast
from urllib.parse import quote

import pytest
from starlette.applications import Starlette

from inspector.config.config import Config
from inspector.config.loading import parse
from inspector.console import lately
from inspector.console.access import Console
from inspector.console.pages import contain, parts
from inspector.console.pages.shift import table
from inspector.domain import Action, Cause, LongJob, Outcome, PartSelection, Verdict
from inspector.errors import LedgerUnavailable
from inspector.operation.containment import Containment
from inspector.operation.parts import PartsAccount
from inspector.store import jobs
from inspector.store.console.hours import HourCount
from inspector.store.database import configured
from tests.parts import encoded
from tests.unit.console.conftest import Browser
from tests.unit.console.test_pages import EVIL, now_rows

Store = Callable[[Sequence[Verdict]], None]
REJECT = {"outcome": Outcome.REJECT, "cause": Cause.ANOMALY, "action": Action.REJECT, "level": 1.5}


def test_shift_counts_its_parts_by_product_and_camera(store: Store, signed_in: Callable[[str], Browser]) -> None:
    store([*now_rows(3), *now_rows(1, **REJECT, camera="cam2", product="nut")])
    page = signed_in("vera").get("/shift")
    assert "75.0 %" in page
    for name in ("bolt", "nut", "cam1", "cam2"):
        assert name in page


def test_shift_that_was_long_ago_is_empty_and_says_so(store: Store, signed_in: Callable[[str], Browser]) -> None:
    store(now_rows(3))
    begin = (datetime.now(UTC) - timedelta(days=40)).isoformat()
    assert "Nothing was recorded in this shift." in signed_in("vera").get(f"/shift?begin={quote(begin)}")


@pytest.mark.parametrize("begin", ["x", "0001-01-01T00:00:00%2B00:00", "9999-12-31T23:59:59Z", "%00"])
def test_shift_of_a_time_that_is_none_is_the_present_one(signed_in: Callable[[str], Browser], begin: str) -> None:
    assert signed_in("vera").status(f"/shift?begin={begin}") == 200


def test_csv_holds_every_count(store: Store, signed_in: Callable[[str], Browser]) -> None:
    store([*now_rows(3), *now_rows(2, **REJECT, camera="cam2")])
    answer = signed_in("vera").client.get("/shift.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert sum(int(row["results"]) for row in rows) == 5


@pytest.mark.parametrize("name", ['=HYPERLINK("http://evil")', "+1", "-1", "@SUM(A1)", "\tx"])
def test_csv_holds_no_formula(name: str) -> None:
    text = table([HourCount("2026-03-02T06", name, name, 1, "pass", "ok", "pass", True, 1)])
    (row,) = list(csv.DictReader(io.StringIO(text)))
    assert row["camera"] == row["product"] == f"'{name}"


def test_parts_without_gates_say_so(signed_in: Callable[[str], Browser]) -> None:
    assert "No gate is configured." in signed_in("vera").get("/parts")


async def test_account_of_a_time_is_counted_once_for_all_who_ask_and_anew_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted: list[PartSelection] = []

    async def count(_database: object, wanted: PartSelection, **_: object) -> PartsAccount:
        counted.append(wanted)
        return PartsAccount(wanted, ())

    monkeypatch.setattr(parts, "account_in", count)
    console = cast(Console, SimpleNamespace(config=parse({}, None), database=None))
    accounts, now = parts.Accounts(), datetime(2026, 3, 2, 12, tzinfo=UTC)
    for _ in range(3):
        await accounts.count(console, ("1h", None, None), now)
    await accounts.count(console, ("8h", None, None), now)
    assert [wanted.since for wanted in counted] == [now - timedelta(hours=1), now - timedelta(hours=8)]
    later = now + timedelta(seconds=parts.COUNTED_FOR_S + 1)
    found = await accounts.count(console, ("1h", None, None), later)
    assert found is not None
    assert (found.value.selection.now, found.at, found.is_old) == (later, later, False)


def test_page_of_an_old_count_says_how_old_it_is_and_fetches_the_new_one_by_itself(
    store: Store, signed_in: Callable[[str], Browser], app: Starlette, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(now_rows(3))
    viewer, gate = signed_in("vera"), threading.Event()
    assert "3 parts from" in viewer.get("/contain")
    assert "Being counted" not in viewer.get("/contain")

    async def wait(*_: object, **__: object) -> Containment:
        await asyncio.to_thread(gate.wait)
        raise LedgerUnavailable("gone")

    monkeypatch.setattr(contain, "contained_in", wait)
    monkeypatch.setattr(lately, "FIRST_WAIT_S", 0.01)
    live = app.state.console.live
    later = live.now() + timedelta(minutes=2)
    monkeypatch.setattr(live, "now", lambda: later)
    page, never = viewer.get("/contain"), viewer.get("/contain?lot=L7")
    gate.set()
    assert "3 parts from" in page
    assert "it is being counted anew" in page
    assert "Being counted" in never
    assert "parts from" not in never
    for each in (page, never):
        assert 'hx-trigger="load delay:1500ms" hx-select="#found" hx-target="#found"' in each
    assert 'hx-get="/contain?lot=L7"' in never


def upload(engineer: Browser, batch: str, name: str, content: bytes) -> int:
    return engineer.client.post(
        f"/uploads/{batch}?name={quote(name)}", content=content, headers={"x-csrf": engineer.csrf}
    ).status_code


def batch_of(engineer: Browser) -> str:
    found = re.search(r'name="batch" value="([0-9a-f]{32})"', engineer.get("/enrol"))
    assert found is not None
    return found[1]


def listed(config: Config) -> list[LongJob]:
    async def read() -> list[LongJob]:
        async with configured(config) as database:
            return await jobs.listed(database)

    return asyncio.run(read())


def test_enrolment_is_a_job_in_the_persons_name_over_what_was_uploaded(
    signed_in: Callable[[str], Browser], console_config: Config
) -> None:
    engineer = signed_in("eva")
    batch = batch_of(engineer)
    for name in ("a.jpg", "../../../etc/passwd.jpg", EVIL, "b.jpg"):
        assert upload(engineer, batch, name, encoded("disc", 1)) == 200
    form = {"product": "washer", "batch": batch, "head": "prototype", "profile": "fast"}
    assert engineer.post("/enrol", **form) == 303
    (job,) = listed(console_config)
    assert (job.by, job.kind, job.request["product"]) == ("eva", "enrol", "washer")
    folder = console_config.agent.state_dir / "enrolment" / ".uploaded" / batch
    assert job.request["images"] == [str(folder)]
    files = sorted(path.name for path in folder.iterdir())
    assert len(files) == 4
    assert all(re.fullmatch(r"\d{4}-[A-Za-z0-9_.-]+\.jpg", name) for name in files), files
    assert "washer" in engineer.get(f"/jobs/{job.number}")
    assert engineer.post(f"/jobs/{job.number}/cancel") == 303
    assert "cancelled" in engineer.get(f"/jobs/{job.number}")


def test_pictures_of_a_form_that_was_never_sent_are_forgotten_after_a_day(
    signed_in: Callable[[str], Browser], console_config: Config
) -> None:
    engineer = signed_in("eva")
    uploaded = console_config.agent.state_dir / "enrolment" / ".uploaded"
    unsent, sent, young = (batch_of(engineer) for _ in range(3))
    for batch in (unsent, sent, young):
        upload(engineer, batch, "a.jpg", encoded("disc", 1))
    engineer.post("/enrol", product="washer", batch=sent, head="prototype", profile="fast")
    for batch in (unsent, sent):
        os.utime(uploaded / batch, (0, 0))
    engineer.get("/enrol")
    assert sorted(path.name for path in uploaded.iterdir()) == sorted([sent, young])


@pytest.mark.parametrize(
    ("content", "status"), [(b"MZ\x90", 415), (b"", 415), (b"<svg onload=alert(1)>", 415), (encoded("disc", 1), 200)]
)
def test_upload_takes_pictures_alone(signed_in: Callable[[str], Browser], content: bytes, status: int) -> None:
    engineer = signed_in("eva")
    assert upload(engineer, batch_of(engineer), "x.jpg", content) == status


@pytest.mark.parametrize("batch", ["%2e%2e%2fx", "0" * 31, "Z" * 32])
def test_upload_goes_nowhere_else(signed_in: Callable[[str], Browser], batch: str) -> None:
    engineer = signed_in("eva")
    assert upload(engineer, batch, "x.jpg", encoded("disc", 1)) == 404


@pytest.mark.parametrize(
    "changes",
    [
        {"product": "../x"},
        {"product": ""},
        {"head": "none"},
        {"profile": "none"},
        {"batch": "1" * 32},
        {"batch": "", "camera": "cam9", "count": "5"},
        {"batch": "", "camera": "cam1", "count": "x"},
    ],
)
def test_enrolment_that_no_worker_could_do_is_refused(
    signed_in: Callable[[str], Browser], console_config: Config, changes: dict[str, str]
) -> None:
    engineer = signed_in("eva")
    batch = batch_of(engineer)
    upload(engineer, batch, "a.jpg", encoded("disc", 1))
    form = {"product": "washer", "batch": batch, "head": "prototype", "profile": "fast"}
    assert engineer.post("/enrol", **form | changes) == 400
    assert listed(console_config) == []
