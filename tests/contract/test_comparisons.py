"""Shadow results joined with the rows of the same frames, on SQLite and on PostgreSQL."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from inspector.domain import Cause, Outcome, ShadowResult, Verdict
from inspector.store import tables
from inspector.store.database import Database
from inspector.store.ledger import comparisons
from inspector.store.ledger.comparisons import ShadowSelection
from inspector.store.ledger.ledger import SqlLedger
from inspector.testing.clock import START, FakeClock
from inspector.testing.samples import shadow_result_of, verdict_of_part

BOLT = ShadowSelection("bolt", 2)
PASS, REJECT, UNJUDGED = Outcome.PASS, Outcome.REJECT, Outcome.UNJUDGED


def pair(
    number: int, live: Outcome, shadow: Outcome, *, version: int = 1, simulated: bool = False
) -> tuple[Verdict, ShadowResult]:
    """Part `number`, received in minute `number`, as two versions judge it."""
    at = START + timedelta(minutes=number)
    causes = {PASS: Cause.OK, REJECT: Cause.ANOMALY, UNJUDGED: Cause.NOT_RELEASED}
    verdict = verdict_of_part(
        number,
        outcome=live,
        cause=causes[live],
        level=None if live is UNJUDGED else 1.5 if live is REJECT else 0.5,
        product=None if live is UNJUDGED else "bolt",
        product_version=None if live is UNJUDGED else version,
        received_at=at,
        decided_at=at,
        simulated=simulated,
    )
    level = {PASS: 0.25, REJECT: 1.25, UNJUDGED: None}[shadow]
    return verdict, shadow_result_of(number, outcome=shadow, level=level, threshold=2.0, decided_at=at)


FRAMES = [
    pair(1, PASS, PASS),
    pair(2, PASS, PASS, simulated=True),
    pair(3, REJECT, REJECT),
    pair(4, PASS, REJECT),
    pair(5, REJECT, PASS),
    pair(6, PASS, UNJUDGED),
    pair(7, UNJUDGED, REJECT),
    pair(8, PASS, PASS, version=7),
]


async def fill(database: Database) -> None:
    async with SqlLedger(database, FakeClock()) as ledger:
        unscored = verdict_of_part(90, received_at=START + timedelta(minutes=3))
        other = verdict_of_part(91, received_at=START + timedelta(minutes=3), product="nut")
        await ledger.record([verdict for verdict, _ in FRAMES] + [unscored, other], [], [])
        without_row = shadow_result_of(99)
        of_nut = shadow_result_of(1, product="nut")
        of_other_version = shadow_result_of(1, product_version=3)
        results = [result for _, result in FRAMES]
        await ledger.record_shadow_results([*results, without_row, of_nut, of_other_version])


async def label(database: Database, number: int, *words: str) -> None:
    async with database.writing() as connection:
        for word in words:
            row = {"at": START, "user_name": "ada", "result_id": FRAMES[number - 1][0].result_id, "comment": ""}
            await connection.execute(tables.reviews.insert(), row | {"label": word})


class ComparisonsContract:
    async def test_frame_groups_count_each_pair_of_outcomes(self, database: Database) -> None:
        await fill(database)
        found = {
            (group.live_version, group.live_outcome, group.shadow_outcome): (group.frames, group.simulated)
            for group in await comparisons.frame_groups(database, BOLT)
        }
        assert found == {
            (1, PASS, PASS): (2, 1),
            (1, REJECT, REJECT): (1, 0),
            (1, PASS, REJECT): (1, 0),
            (1, REJECT, PASS): (1, 0),
            (1, PASS, UNJUDGED): (1, 0),
            (None, UNJUDGED, REJECT): (1, 0),
            (7, PASS, PASS): (1, 0),
        }

    async def test_frame_groups_have_their_span_and_thresholds(self, database: Database) -> None:
        await fill(database)
        groups = await comparisons.frame_groups(database, BOLT)
        (group,) = (each for each in groups if each.frames == 2)
        assert (group.first_at, group.last_at) == (START + timedelta(minutes=1), START + timedelta(minutes=2))
        assert (group.live_thresholds, group.shadow_thresholds) == ((3.0, 3.0), (2.0, 2.0))

    async def test_frame_groups_since_a_time_leave_earlier_frames_out(self, database: Database) -> None:
        await fill(database)
        wanted = dataclasses.replace(BOLT, since=START + timedelta(minutes=5))
        groups = await comparisons.frame_groups(database, wanted)
        assert sum(group.frames for group in groups) == 4
        flips = await comparisons.newest_flips(database, wanted, 1, 10)
        assert [flip.result_id for flip in flips] == [FRAMES[4][0].result_id]

    async def test_newest_flips_come_newest_first_with_both_levels_and_the_newest_label(
        self, database: Database
    ) -> None:
        await fill(database)
        await label(database, 4, "good", "bad")
        found = await comparisons.newest_flips(database, BOLT, 1, 10)
        assert [flip.result_id for flip in found] == [FRAMES[4][0].result_id, FRAMES[3][0].result_id]
        assert [(flip.live.outcome, flip.live.level, flip.shadow.outcome, flip.shadow.level) for flip in found] == [
            (REJECT, 1.5, PASS, 0.25),
            (PASS, 0.5, REJECT, 1.25),
        ]
        assert [flip.label for flip in found] == [None, "bad"]
        assert len(await comparisons.newest_flips(database, BOLT, 1, 1)) == 1
        groups = await comparisons.frame_groups(database, BOLT)
        assert [group.frames for group in groups if group.label == "bad"] == [1], "counted once, by its newest label"

    async def test_judged_frames_count_those_that_no_shadow_scored_too(self, database: Database) -> None:
        await fill(database)
        first, last = START + timedelta(minutes=1), START + timedelta(minutes=6)
        assert await comparisons.judged_frames(database, "bolt", 1, first, last) == 7
        assert await comparisons.judged_frames(database, "bolt", 7, first, last) == 0

    async def test_newest_scored_version_is_that_of_the_last_result(self, database: Database) -> None:
        assert await comparisons.newest_scored_version(database, "bolt") is None
        await fill(database)
        assert await comparisons.newest_scored_version(database, "bolt") == 3


class TestSqliteComparisons(ComparisonsContract):
    @pytest.fixture
    def database(self, sqlite: Database) -> Database:
        return sqlite


class TestPostgresComparisons(ComparisonsContract):
    @pytest.fixture
    def database(self, postgres: Database) -> Database:
        return postgres
