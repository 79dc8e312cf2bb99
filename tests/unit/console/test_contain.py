"""The page after an escape: what was judged, and what passed nearest to the threshold."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence

import pytest

from inspector.domain import Action, Cause, Outcome, Verdict
from tests.unit.console.conftest import HTML, Browser
from tests.unit.console.test_pages import EVIL, now_rows

Store = Callable[[Sequence[Verdict]], None]
SignedIn = Callable[[str], Browser]
BOTTLE = {"product": "bottle", "product_version": 3, "threshold": 0.5}


def test_escape_page_counts_what_was_judged_and_lists_the_nearest_passes_first(
    store: Store, signed_in: SignedIn
) -> None:
    far = now_rows(20, level=0.3, lot="L1", **BOTTLE)
    near = now_rows(2, level=0.95, lot="L2", camera="cam2", **BOTTLE)
    nearer = now_rows(1, level=0.97, lot="L2", camera="cam3", **BOTTLE)
    store([*far, *near, *nearer])
    page = signed_in("vera").get("/contain?span=1h")
    assert "23 parts from" in page
    assert "3 passed near the threshold" in page
    assert "bottle, version 3, threshold 0.5" in page
    listed = re.findall(r'href="/part/([0-9a-f-]+)"', page)
    assert listed[0] == nearer[0].result_id
    assert set(listed[1:3]) == {row.result_id for row in near}


@pytest.mark.parametrize(
    ("query", "rows"), [("lot=L2", 2), ("product=bottle", 7), ("product=other", 0), ("camera=cam2&lot=L1", 0)]
)
def test_escape_page_shows_the_lot_product_and_camera_that_are_asked_for(
    store: Store, signed_in: SignedIn, query: str, rows: int
) -> None:
    store([*now_rows(5, lot="L1", **BOTTLE), *now_rows(2, lot="L2", camera="cam2", **BOTTLE)])
    page = signed_in("vera").get(f"/contain?span=1h&{query}")
    assert (f"{rows} parts from" in page) is (rows > 0)
    assert ("Nothing was judged in this time." in page) is (rows == 0)


def test_part_of_no_known_product_counts_beside_those_of_the_product(store: Store, signed_in: SignedIn) -> None:
    unknown = now_rows(
        4, product=None, camera="cam2", outcome=Outcome.UNJUDGED, cause=Cause.UNKNOWN_PRODUCT, action=Action.REJECT
    )
    store([*now_rows(3, **BOTTLE), *unknown])
    page = signed_in("vera").get("/contain?span=1h&product=bottle")
    assert "7 parts from" in page
    assert "unknown product" in page


def test_table_after_an_escape_has_a_line_for_each_part_and_no_formula(store: Store, signed_in: SignedIn) -> None:
    rows = now_rows(700, lot="=1+1", part_id=EVIL, **BOTTLE)
    store(rows)
    answer = signed_in("vera").client.get("/contain.csv?span=1h", headers=HTML)
    assert answer.status_code == 200
    lines = list(csv.DictReader(io.StringIO(answer.text)))
    assert {line["result_id"] for line in lines} == {row.result_id for row in rows}
    assert not any(line["lot"].startswith("=") for line in lines)


@pytest.mark.parametrize("query", ["span=9y", "span=", f"lot={EVIL}", "product=%00", "camera=../.."])
def test_escape_page_of_a_query_that_means_nothing_shows_no_one_elses_parts(
    store: Store, signed_in: SignedIn, query: str
) -> None:
    store(now_rows(3, **BOTTLE))
    page = signed_in("vera").get(f"/contain?{query}")
    assert "<script>alert" not in page


def test_escape_page_is_for_people_who_are_signed_in(browser: Browser) -> None:
    assert browser.status("/contain") == 303
    assert browser.status("/contain.csv") == 303
