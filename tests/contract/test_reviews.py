"""A person's word on results, on both databases: every review is kept, and the newest that was not undone counts."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from inspector.domain import Review, ReviewLabel, Verdict
from inspector.errors import UsageError
from inspector.store import audit, reviews, tables
from inspector.store.database import Database
from inspector.store.ledger.ledger import SqlLedger
from inspector.store.reviews import ReviewFilter
from inspector.testing.clock import START, FakeClock
from inspector.testing.samples import verdict_of_part

GOOD, BAD, UNSURE = ReviewLabel.GOOD, ReviewLabel.BAD, ReviewLabel.UNSURE
PARTS = [verdict_of_part(number, product="bolt" if number < 3 else "nut") for number in range(1, 5)]


def said(part: Verdict, label: ReviewLabel, **changes: Any) -> Review:
    return Review(part.result_id, label, **{"by": "ada", "at": START, **changes})


class ReviewsContract:
    @pytest.fixture
    async def filled(self, database: Database) -> Database:
        async with SqlLedger(database, FakeClock()) as ledger:
            await ledger.record(PARTS, [], [])
        return database

    async def test_add_keeps_every_review_and_counts_the_newest(self, filled: Database, clock: FakeClock) -> None:
        first = await reviews.add(filled, clock, said(PARTS[0], GOOD))
        clock.advance(60)
        second = await reviews.add(
            filled, clock, said(PARTS[0], BAD, by="bo", kind="scratch", note="on the thread", is_blind=True)
        )
        assert await reviews.of_result(filled, PARTS[0].result_id) == [first, second]
        assert (second.at, second.is_blind, second.kind) == (clock.now(), True, "scratch")
        assert await reviews.counting_of(filled, [part.result_id for part in PARTS]) == {PARTS[0].result_id: second}

    async def test_undo_makes_the_review_before_count_again(self, filled: Database, clock: FakeClock) -> None:
        first = await reviews.add(filled, clock, said(PARTS[0], GOOD))
        second = await reviews.add(filled, clock, said(PARTS[0], BAD))
        undone = await reviews.undo(filled, clock, PARTS[0].result_id, by="bo", reason="wrong part")
        assert (undone.number, undone.undone_by, undone.is_undone) == (second.number, "bo", True)
        assert (await reviews.counting_of(filled, [PARTS[0].result_id]))[PARTS[0].result_id] == first
        assert await reviews.of_result(filled, PARTS[0].result_id) == [first, undone]
        await reviews.undo(filled, clock, PARTS[0].result_id, by="bo", reason="that too")
        with pytest.raises(UsageError, match="no review"):
            await reviews.undo(filled, clock, PARTS[0].result_id, by="bo", reason="once more")

    async def test_add_and_undo_stand_in_the_audit_with_both_words(self, filled: Database, clock: FakeClock) -> None:
        await reviews.add(filled, clock, said(PARTS[0], GOOD, note="clean"))
        await reviews.add(filled, clock, said(PARTS[0], BAD, by="bo", kind="dent"))
        await reviews.undo(filled, clock, PARTS[0].result_id, by="cy", reason="mixed up")
        found = [(entry.user, entry.old, entry.new, entry.reason) for entry in await audit.entries(filled)]
        assert found == [
            ("ada", None, "good", "clean"),
            ("bo", "good", "bad, dent", ""),
            ("cy", "bad, dent", "good", "mixed up"),
        ]
        assert await audit.verify(filled) == []

    async def test_add_to_an_unknown_result_writes_nothing(self, filled: Database, clock: FakeClock) -> None:
        with pytest.raises(UsageError, match="no result"):
            await reviews.add(filled, clock, said(verdict_of_part(99), GOOD))
        assert await audit.entries(filled) == []

    async def test_listed_reviews_are_newest_first_and_selected(self, filled: Database, clock: FakeClock) -> None:
        for part, label, by in (
            (PARTS[0], GOOD, "ada"),
            (PARTS[1], BAD, "ada"),
            (PARTS[2], BAD, "bo"),
            (PARTS[0], UNSURE, "bo"),
        ):
            clock.advance(60)
            await reviews.add(filled, clock, said(part, label, by=by))

        async def numbers(wanted: ReviewFilter, limit: int = 10, before: int | None = None) -> list[int]:
            found = await reviews.listed(filled, wanted, limit=limit, before=before)
            assert all(each.verdict is not None for each in found)
            return [each.review.number for each in found]

        assert await numbers(ReviewFilter()) == [4, 3, 2]
        assert await numbers(ReviewFilter(counting=False)) == [4, 3, 2, 1]
        assert await numbers(ReviewFilter(product="bolt")) == [4, 2]
        assert await numbers(ReviewFilter(label=BAD)) == [3, 2]
        assert await numbers(ReviewFilter(by="ada", counting=False)) == [2, 1]
        assert await numbers(ReviewFilter(since=clock.now(), counting=False)) == [4]
        assert await numbers(ReviewFilter(until=clock.now(), counting=False)) == [3, 2, 1]
        assert await numbers(ReviewFilter(counting=False), limit=2) == [4, 3]
        assert await numbers(ReviewFilter(counting=False), before=3) == [2, 1]

    async def test_all_counting_of_a_product_reads_every_page(
        self, filled: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reviews, "_PAGE_ROWS", 1)
        for part in PARTS:
            await reviews.add(filled, clock, said(part, BAD))
        found = await reviews.all_counting(filled, "nut", BAD)
        assert [each.verdict for each in found] == [PARTS[3], PARTS[2]]
        assert await reviews.all_counting(filled, "nut", GOOD) == []

    async def test_review_of_a_pruned_result_is_listed_without_its_row(
        self, filled: Database, clock: FakeClock
    ) -> None:
        await reviews.add(filled, clock, said(PARTS[0], BAD))
        async with filled.writing() as connection:
            await connection.execute(sa.delete(tables.results))
        (found,) = await reviews.listed(filled, ReviewFilter(), limit=10)
        assert (found.review.label, found.verdict) == (BAD, None)

    async def test_words_of_other_programs_are_understood(self, filled: Database) -> None:
        row = {"at": START, "user_name": "mes", "result_id": PARTS[0].result_id, "comment": ""}
        async with filled.writing() as connection:
            for word in ("NOK", "ok", "maybe"):
                await connection.execute(tables.reviews.insert(), row | {"label": word})
        assert [each.label for each in await reviews.of_result(filled, PARTS[0].result_id)] == [BAD, GOOD, UNSURE]

    async def test_known_kinds_are_the_most_frequent_first(self, filled: Database, clock: FakeClock) -> None:
        for part, kind in zip(PARTS, ("dent", "scratch", "scratch", None), strict=True):
            await reviews.add(filled, clock, said(part, BAD, kind=kind))
        assert await reviews.known_kinds(filled) == ["scratch", "dent"]


class TestSqliteReviews(ReviewsContract):
    @pytest.fixture
    def database(self, sqlite: Database) -> Database:
        return sqlite

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()


class TestPostgresReviews(ReviewsContract):
    @pytest.fixture
    def database(self, postgres: Database) -> Database:
        return postgres

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()
