"""What is in question after an escape, counted in groups, on both databases."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from inspector.domain import Cause, FrameFault, Outcome, Verdict
from inspector.store.database import Database
from inspector.store.ledger import containment
from inspector.store.ledger.containment import JudgedGroup, Suspicion
from inspector.store.ledger.ledger import SqlLedger
from inspector.testing.clock import START, FakeClock
from inspector.testing.samples import verdict_of_part

WANTED = Suspicion(START, START + timedelta(hours=2), product="bolt")
REJECT = {"outcome": Outcome.REJECT, "cause": Cause.ANOMALY}
UNKNOWN = {"outcome": Outcome.UNJUDGED, "cause": Cause.UNKNOWN_PRODUCT, "product": None, "product_version": None}


def part(number: int, minutes: float = 1.0, **changes: Any) -> Verdict:
    usual = {"product": "bolt", "product_version": 3, "threshold": 3.0, "lot": "L1", "level": 0.5}
    return verdict_of_part(number, received_at=START + timedelta(minutes=minutes), **usual | changes)


PARTS = [
    part(1),
    part(2, 2, level=0.9),
    part(3, 3, level=1.4, **REJECT),
    part(4, 4, level=0.95, lot="L2"),
    part(5, 61, level=0.85, threshold=2.5),
    part(6, 5, outcome=Outcome.UNJUDGED, cause=Cause.FRAME_HEALTH, cause_detail="dark: 12 of 40", level=None),
    part(7, 6, **UNKNOWN, threshold=None, level=None),
    part(8, 7, product="nut"),
    part(9, 8, simulated=True),
    part(10, 130),
    part(11, 9, product_version=2, camera="cam2"),
]


class ContainmentContract:
    @pytest.fixture
    async def filled(self, database: Database) -> Database:
        async with SqlLedger(database, FakeClock()) as ledger:
            await ledger.record(PARTS, [], [])
        return database

    async def test_judged_groups_count_by_version_threshold_lot_and_hour(self, filled: Database) -> None:
        groups = await containment.judged_groups(filled, WANTED)
        assert sum(group.rows for group in groups) == 8

        def only(**wanted: Any) -> list[JudgedGroup]:
            return [each for each in groups if all(getattr(each, name) == value for name, value in wanted.items())]

        (first,) = only(version=3, lot="L1", outcome=Outcome.PASS, threshold=3.0)
        assert (first.rows, first.near, first.highest) == (2, 1, 0.9)
        assert (first.first_at, first.last_at) == (START + timedelta(minutes=1), START + timedelta(minutes=2))
        (moved,) = only(threshold=2.5)
        assert (moved.near, moved.first_at) == (1, START + timedelta(minutes=61))
        (rejected,) = only(outcome=Outcome.REJECT)
        assert (rejected.near, rejected.highest) == (0, None)
        (dark,) = only(cause=Cause.FRAME_HEALTH)
        assert dark.fault is FrameFault.DARK
        assert len(only(product=None)) == 1
        assert only(product="nut") == []

    @pytest.mark.parametrize(
        ("changes", "rows"),
        [
            ({"version": 2}, 2),
            ({"camera": "cam2"}, 1),
            ({"lot": "L2"}, 1),
            ({"product": None}, 9),
            ({"since": START + timedelta(minutes=60)}, 1),
            ({"until": START + timedelta(minutes=2)}, 1),
        ],
    )
    async def test_judged_groups_of_a_narrower_question_are_fewer(
        self, filled: Database, changes: dict[str, Any], rows: int
    ) -> None:
        wanted = Suspicion(**{"since": WANTED.since, "until": WANTED.until, "product": "bolt"} | changes)
        assert sum(group.rows for group in await containment.judged_groups(filled, wanted)) == rows

    async def test_nearest_passes_have_the_highest_level_first(self, filled: Database) -> None:
        found = await containment.nearest_passes(filled, WANTED, 3)
        assert [verdict.trigger_id for verdict in found] == [4, 2, 5]

    async def test_scored_in_are_the_frames_that_a_score_decided(self, filled: Database) -> None:
        found = await containment.scored_in(filled, WANTED)
        assert [verdict.trigger_id for verdict in found] == [1, 2, 3, 4, 11, 5]


class TestSqliteContainment(ContainmentContract):
    @pytest.fixture
    def database(self, sqlite: Database) -> Database:
        return sqlite

    async def test_judged_groups_look_up_their_time_alone(self, sqlite: Database) -> None:
        query = sa.select(sa.literal(1)).where(*containment._in_question(WANTED))
        compiled = query.compile(dialect=sqlite._engine.dialect, compile_kwargs={"literal_binds": True})
        async with sqlite.reading() as connection:
            plan = [str(row[3]) for row in await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}")]
        assert any("ix_results_received_at (received_at>? AND received_at<?)" in step for step in plan), plan


class TestPostgresContainment(ContainmentContract):
    @pytest.fixture
    def database(self, postgres: Database) -> Database:
        return postgres
