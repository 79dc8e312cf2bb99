"""Products in the browser: what a threshold would change, and each change with its reason in the audit."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence

import pytest

from inspector.agent.clock import SystemClock
from inspector.config.config import Config
from inspector.console.histogram import histogram
from inspector.console.passwords import hashed
from inspector.domain import Action, Cause, Outcome, Role, ShadowResult, Verdict
from inspector.store.console import people
from inspector.store.database import configured
from inspector.store.ledger.ledger import SqlLedger
from inspector.store.ledger.queries import list_results
from inspector.store.registry.registry import SqlRegistry
from inspector.training.enrol import Enrolment
from inspector.vision.artifacts import drift
from inspector.vision.artifacts.thresholds import EnrolledThreshold
from tests.unit.console.conftest import PASSWORD, Browser
from tests.unit.console.test_pages import now_rows

Store = Callable[[Sequence[Verdict]], None]


@pytest.fixture
def disc(store: Store, console_config: Config, enrolled: dict[str, Enrolment]) -> EnrolledThreshold:
    """Two versions of `disc`, the second one live. 10 parts passed at level 0.7, 5 were rejected at level 1.3."""

    async def add() -> None:
        async with configured(console_config) as database, SqlRegistry(database, SystemClock()) as registry:
            for other in ("disc", "mesh"):
                artifact, manifest = enrolled[other].artifact, {**enrolled[other].manifest, "product": "disc"}
                await registry.add_version("disc", artifact, manifest, by="test", activate=True)

    asyncio.run(add())
    threshold = EnrolledThreshold.of(enrolled["mesh"].manifest)
    usual = {"product": "disc", "product_version": 2}
    rejects = {"outcome": Outcome.REJECT, "cause": Cause.ANOMALY, "action": Action.REJECT}
    store(
        [
            *now_rows(10, score=threshold.score_at(0.7), level=0.7, **usual),
            *now_rows(5, score=threshold.score_at(1.3), level=1.3, camera="cam2", **rejects, **usual),
        ]
    )
    return threshold


@pytest.fixture
def few_scores_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """The products of these tests are enrolled from 8 images."""
    monkeypatch.setattr(drift, "LEAST_SCORES", 5)


@pytest.mark.usefixtures("disc", "few_scores_are_enough")
def test_product_with_few_parts_is_not_compared_and_says_so(signed_in: Callable[[str], Browser]) -> None:
    viewer = signed_in("vera")
    assert "have drifted" not in viewer.get("/products")
    assert "Not compared: no camera has 100 accepted parts in this time." in viewer.get("/products/disc")


@pytest.mark.usefixtures("few_scores_are_enough")
def test_drift_of_a_camera_stands_on_the_card_and_the_page(
    disc: EnrolledThreshold, store: Store, signed_in: Callable[[str], Browser]
) -> None:
    drifted = {"score": disc.score_at(0.95), "level": 0.95, "camera": "cam7"}
    store(now_rows(400, product="disc", product_version=2, **drifted))
    viewer = signed_in("vera")
    assert "Its parts have drifted at cam7" in viewer.get("/products")
    assert "Likely cause:" in viewer.get("/products/disc")


@pytest.mark.usefixtures("few_scores_are_enough")
def test_drift_of_every_product_is_known_whichever_page_was_looked_at_first(
    disc: EnrolledThreshold, store: Store, signed_in: Callable[[str], Browser], console_config: Config
) -> None:
    async def add() -> None:
        async with configured(console_config) as database, SqlRegistry(database, SystemClock()) as registry:
            versions = await registry.products()
            manifest = {**versions[0].manifest, "product": "other"}
            artifact = await registry.artifact("disc", versions[0].version)
            await registry.add_version("other", artifact, manifest, by="test", activate=True)

    asyncio.run(add())
    store(now_rows(400, product="disc", product_version=2, score=disc.score_at(0.95), level=0.95, camera="cam7"))
    viewer = signed_in("vera")
    viewer.get("/products/other")
    assert "Its parts have drifted at cam7" in viewer.get("/products")


@pytest.mark.parametrize(
    ("level", "said"),
    [
        ("0.6", "Of the last 15 parts 10 more would have been rejected."),
        ("1.4", "Of the last 15 parts 5 that were rejected would have passed."),
        ("1.1", "Of the last 15 parts none would have been judged otherwise."),
    ],
)
def test_preview_counts_what_another_threshold_would_change(
    disc: EnrolledThreshold, signed_in: Callable[[str], Browser], level: str, said: str
) -> None:
    assert said in signed_in("vera").get(f"/products/disc/2/preview?level={level}")


@pytest.mark.parametrize("level", ["", "x", "nan", "-1", "1e9"])
def test_preview_of_a_level_that_is_none_is_refused(
    disc: EnrolledThreshold, signed_in: Callable[[str], Browser], level: str
) -> None:
    assert signed_in("vera").status(f"/products/disc/2/preview?level={level}") == 400


def test_threshold_is_moved_with_a_reason_and_audited(
    disc: EnrolledThreshold, signed_in: Callable[[str], Browser], console_config: Config
) -> None:
    engineer = signed_in("eva")
    assert engineer.post("/products/disc/2/threshold", level="1.1", reason="") == 400
    assert engineer.post("/products/disc/2/threshold", level="1.1", reason="false rejects on Monday") == 303
    assert "level 1.10 of the enrolment" in engineer.get("/products/disc")
    page = engineer.get("/audit")
    assert "false rejects on Monday" in page
    assert "eva" in page


def test_threshold_far_away_needs_a_second_person(
    disc: EnrolledThreshold, signed_in: Callable[[str], Browser], console_config: Config
) -> None:
    async def add_nora() -> None:
        async with configured(console_config) as database:
            now = SystemClock().now()
            await people.add_person(
                database, "nora", Role.ENGINEER, hashed(PASSWORD), now=now, by="test", reason="for the test"
            )

    asyncio.run(add_nora())
    first, second = signed_in("eva"), signed_in("nora")
    assert first.post("/products/disc/2/threshold", level="1.9", reason="large defects only") == 400
    assert first.post("/products/disc/2/proposal", level="1.9", reason="large defects only") == 303
    assert first.post("/products/disc/2/approval", reason="I agree with me") == 400
    assert "eva asks a second person for level 1.90" in second.get("/products/disc")
    assert second.post("/products/disc/2/approval", reason="agreed, see the trial") == 303
    assert "level 1.90 of the enrolment" in second.get("/products/disc")


def test_rollback_brings_the_version_before_back(disc: EnrolledThreshold, signed_in: Callable[[str], Browser]) -> None:
    engineer = signed_in("eva")
    status = engineer.post("/products/disc/rollback", reason="worse than before", insist="yes")
    assert status == 303, engineer.get("/products/disc")
    assert re.search(r"<strong>1</strong></td><td>live", engineer.get("/products/disc"))
    assert engineer.post("/products/disc/2/activate", reason="no, it is better", insist="yes") == 303
    assert re.search(r"<strong>2</strong></td><td>live", engineer.get("/products/disc"))


def test_operator_sees_products_and_changes_none(disc: EnrolledThreshold, signed_in: Callable[[str], Browser]) -> None:
    operator = signed_in("otto")
    assert "disc" in operator.get("/products")
    page = operator.get("/products/disc")
    assert "data-moves-threshold" not in page
    assert operator.post("/products/disc/2/threshold", level="1.1", reason="I want to") == 403


def test_shadow_version_is_compared_with_the_live_one(
    disc: EnrolledThreshold, signed_in: Callable[[str], Browser], console_config: Config
) -> None:
    async def set_shadow() -> None:
        async with configured(console_config) as database, SqlRegistry(database, SystemClock()) as registry:
            await registry.set_shadow("disc", 1, by="test", reason="to compare")
            ledger = SqlLedger(database, SystemClock())
            rows = await list_results(database, limit=20)
            now = SystemClock().now()
            outcome = Outcome.REJECT
            found = [ShadowResult(row.result_id, row.camera, "disc", 1, outcome, "d" * 64, now, 1.5) for row in rows]
            await ledger.record_shadow_results(found)

    asyncio.run(set_shadow())
    page = signed_in("vera").get("/products/disc/shadow")
    assert "33.3 %" in page  # the 5 of 15 that the live version rejected too
    assert page.count("/part/") == 10
    assert 'hx-get="/products/disc/shadow"' in signed_in("vera").get("/products/disc")


@pytest.mark.parametrize(
    "path", ["/products/none/shadow", "/products/none", "/products/disc/9/preview?level=1", "/products/disc/x/report"]
)
def test_products_that_are_not_there_say_so(
    disc: EnrolledThreshold, signed_in: Callable[[str], Browser], path: str
) -> None:
    assert signed_in("vera").status(path) == 404


def test_histogram_counts_every_level_and_keeps_extremes_at_its_ends() -> None:
    made = histogram([0.5, 0.5, -3.0], [1.0, 99.0, 0.0])
    assert sum(bar.count for bar in made.calibration) == 3
    assert sum(bar.count for bar in made.lately) == 3
    assert made.lately[-1].x + made.lately[-1].width == pytest.approx(800)
