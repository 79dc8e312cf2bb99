"""Reviews in the browser: only of what was seen, in the person's name, undone again."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from inspector.config.config import Config
from inspector.domain import Action, Cause, Outcome, Verdict
from inspector.store.pictures.folders import write_whole
from tests.parts import encoded
from tests.unit.console.conftest import Browser
from tests.unit.console.test_pages import now_rows

Store = Callable[[Sequence[Verdict]], None]
REJECT = {"outcome": Outcome.REJECT, "cause": Cause.ANOMALY, "action": Action.REJECT, "level": 1.5}


def keep_picture(config: Config, row: Verdict) -> None:
    day = f"{row.decided_at:%Y-%m-%d}"
    path = config.agent.state_dir / "images" / day / row.camera / f"{row.result_id}.jpg"
    write_whole(path, encoded("disc", 1))


@pytest.fixture
def rejects(store: Store, console_config: Config) -> list[Verdict]:
    """Three rejects with their pictures, oldest first."""
    rows = now_rows(3, **REJECT)
    store(rows)
    for row in rows:
        keep_picture(console_config, row)
    return rows


def part_of(page: str) -> str:
    found = re.search(r'data-part="([^"]+)"', page)
    return found[1] if found else ""


def test_review_shows_the_newest_reject_first_and_goes_on_to_the_next(
    rejects: list[Verdict], signed_in: Callable[[str], Browser]
) -> None:
    operator = signed_in("otto")
    assert part_of(operator.get("/review")) == rejects[-1].result_id
    assert operator.post("/review", result_id=rejects[-1].result_id, label="bad", kind="scratch") == 303
    page = operator.get("/review")
    assert part_of(page) == rejects[-2].result_id
    assert "scratch" in page
    audit = operator.get("/audit")
    assert f"result/{rejects[-1].result_id}/review" in audit
    assert "otto" in audit


def test_review_of_a_part_that_was_not_shown_is_refused(
    rejects: list[Verdict], signed_in: Callable[[str], Browser]
) -> None:
    operator = signed_in("otto")
    assert operator.post("/review", result_id=rejects[0].result_id, label="good") == 409
    signed_in("eva").get(f"/part/{rejects[0].result_id}")
    assert operator.post("/review", result_id=rejects[0].result_id, label="good") == 409
    operator.get(f"/part/{rejects[0].result_id}")
    assert operator.post("/review", result_id=rejects[0].result_id, label="good") == 303


def test_review_can_be_undone_and_shows_the_part_again(
    rejects: list[Verdict], signed_in: Callable[[str], Browser]
) -> None:
    operator = signed_in("otto")
    operator.get("/review")
    operator.post("/review", result_id=rejects[-1].result_id, label="bad")
    assert operator.post("/review/undo", result_id=rejects[-1].result_id) == 303
    assert part_of(operator.get("/review")) == rejects[-1].result_id


def test_review_offers_only_parts_with_a_picture(store: Store, signed_in: Callable[[str], Browser]) -> None:
    store(now_rows(3, **REJECT))
    assert part_of(signed_in("otto").get("/review")) == ""


def test_review_offers_near_misses_by_themselves(
    store: Store, console_config: Config, signed_in: Callable[[str], Browser]
) -> None:
    near, far = now_rows(2, level=0.95)[1], now_rows(5, level=0.2)[4]
    store([near, far])
    keep_picture(console_config, near)
    keep_picture(console_config, far)
    assert part_of(signed_in("otto").get("/review?queue=near_miss")) == near.result_id


def test_blind_review_shows_nothing_of_the_verdict(rejects: list[Verdict], signed_in: Callable[[str], Browser]) -> None:
    page = signed_in("otto").get("/review?blind=1")
    assert "1.50" not in page
    assert "/heat" not in page
    assert not re.search(r"\bReject\b", page)


def test_viewer_has_no_review(rejects: list[Verdict], signed_in: Callable[[str], Browser]) -> None:
    viewer = signed_in("vera")
    assert viewer.status("/review") == 403
    assert 'href="/review"' not in viewer.get("/")


def test_pictures_are_served_by_result_id_and_not_sent_again(
    rejects: list[Verdict], signed_in: Callable[[str], Browser], console_config: Config
) -> None:
    viewer, path = signed_in("vera"), f"/pictures/{rejects[0].result_id}"
    answer = viewer.client.get(f"{path}/frame")
    assert answer.content == encoded("disc", 1)
    again = viewer.client.get(f"{path}/frame", headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304
    for kind in ("shown", "small"):
        assert viewer.client.get(f"{path}/{kind}").headers["content-type"] == "image/jpeg"
    assert viewer.status(f"{path}/heat") == 404
    for file in Path(console_config.agent.state_dir).rglob("*.jpg"):
        file.unlink()
    assert viewer.status(f"/pictures/{rejects[1].result_id}/frame") == 404
