"""Levels of accepted parts, counted by the database, on both databases."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from inspector.domain import Cause, FrameFault, Outcome, Verdict
from inspector.store.database import Database
from inspector.store.ledger.ledger import SqlLedger
from inspector.store.ledger.levels import LevelsWanted, level_groups
from inspector.testing.clock import START, FakeClock
from inspector.testing.samples import verdict_of_part

DARK = {"outcome": Outcome.UNJUDGED, "cause": Cause.FRAME_HEALTH, "cause_detail": "dark: 12 of 40", "level": None}


def part(number: int, level: float | None, minutes: float = 1.0, **changes: Any) -> Verdict:
    usual = {"product": "bolt", "product_version": 3, "threshold": 3.0}
    return verdict_of_part(number, received_at=START + timedelta(minutes=minutes), **usual | {"level": level} | changes)


PARTS = [
    part(1, 0.5),
    part(2, 0.51),
    part(3, -0.01),
    part(4, -0.5),
    part(5, 1.4, outcome=Outcome.REJECT, cause=Cause.ANOMALY),
    part(6, **DARK),
    part(7, 0.5, simulated=True),
    part(8, 0.5, camera="cam2"),
    part(9, 0.5, agent="other"),
    part(10, 0.5, product="nut"),
    part(11, 0.5, 90),
    part(12, 0.5, threshold=2.0),
]


class LevelsContract:
    async def test_level_groups_count_passes_by_bin_and_the_rest_by_outcome(self, database: Database) -> None:
        async with SqlLedger(database, FakeClock()) as ledger:
            await ledger.record(PARTS, [], [])
        agent = PARTS[0].agent
        wanted = LevelsWanted(START, START + timedelta(hours=1), "bolt", agent)
        groups = await level_groups(database, wanted, 10)
        passed = {
            (group.camera, group.threshold, group.bin): group.rows for group in groups if group.outcome is Outcome.PASS
        }
        assert passed == {("cam1", 3.0, 5): 2, ("cam1", 3.0, -1): 1, ("cam1", 3.0, -5): 1, ("cam2", 3.0, 5): 1} | {
            ("cam1", 2.0, 5): 1
        }
        rest = {(group.outcome, group.fault, group.bin): group.rows for group in groups if group.bin is None}
        assert rest == {(Outcome.REJECT, None, None): 1, (Outcome.UNJUDGED, FrameFault.DARK, None): 1}
        everything = await level_groups(database, LevelsWanted(START), 10)
        assert sum(group.rows for group in everything) == len(PARTS) - 1


class TestSqliteLevels(LevelsContract):
    @pytest.fixture
    def database(self, sqlite: Database) -> Database:
        return sqlite


class TestPostgresLevels(LevelsContract):
    @pytest.fixture
    def database(self, postgres: Database) -> Database:
        return postgres
