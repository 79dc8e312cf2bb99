"""Long jobs on both databases: one worker has a job, a silent one loses it, and a cancelled job stays cancelled."""

from __future__ import annotations

import asyncio

import pytest

from inspector.domain import JobProgress, JobState
from inspector.errors import UsageError
from inspector.store import jobs
from inspector.store.database import Database
from inspector.store.jobs import MOST_TRIES, SILENT_S, JobFilter
from inspector.testing.clock import FakeClock

KINDS = ("enrol",)


class JobsContract:
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    async def test_take_gives_the_oldest_job_of_the_kinds_to_one_worker(
        self, database: Database, clock: FakeClock
    ) -> None:
        other = await jobs.ask(database, clock, "rescore", {}, by="ada")
        first = await jobs.ask(database, clock, "enrol", {"product": "bolt", "images": ["a"]}, by="ada")
        second = await jobs.ask(database, clock, "enrol", {"product": "nut"}, by="bo")
        assert (first.state, first.request, first.by) == (JobState.QUEUED, {"product": "bolt", "images": ["a"]}, "ada")
        taken = await jobs.take(database, clock, "w1", KINDS)
        assert taken is not None
        assert (taken.number, taken.state, taken.worker, taken.tries) == (first.number, JobState.RUNNING, "w1", 1)
        assert taken.started_at == taken.heard_at == clock.now()
        following = await jobs.take(database, clock, "w2", KINDS)
        assert following is not None
        assert following.number == second.number
        assert await jobs.take(database, clock, "w3", KINDS) is None
        assert (await jobs.job_of(database, other.number)).state is JobState.QUEUED

    async def test_take_by_two_at_once_gives_each_job_once(self, database: Database, clock: FakeClock) -> None:
        asked = [await jobs.ask(database, clock, "enrol", {}, by="ada") for _ in range(4)]
        taken = await asyncio.gather(*(jobs.take(database, clock, f"w{number}", KINDS) for number in range(4)))
        again = [await jobs.take(database, clock, "late", KINDS) for _ in asked]
        numbers = [job.number for job in (*taken, *again) if job is not None]
        assert sorted(numbers) == [job.number for job in asked]

    async def test_tell_and_end_are_kept_with_progress_and_result(self, database: Database, clock: FakeClock) -> None:
        await jobs.ask(database, clock, "enrol", {}, by="ada")
        job = await jobs.take(database, clock, "w1", KINDS)
        assert job is not None
        clock.advance(5)
        assert await jobs.tell(database, clock, job, JobProgress("fit", 3, 10))
        heard = await jobs.job_of(database, job.number)
        assert (heard.progress, heard.heard_at) == (JobProgress("fit", 3, 10), clock.now())
        assert await jobs.end(database, clock, job, JobState.DONE, detail="version 2 is live", result={"version": 2})
        ended = await jobs.job_of(database, job.number)
        assert (ended.state, ended.detail, ended.result, ended.ended_at) == (
            JobState.DONE,
            "version 2 is live",
            {"version": 2},
            clock.now(),
        )
        assert ended.state.is_over
        assert not await jobs.tell(database, clock, job, JobProgress())

    async def test_take_again_when_its_worker_was_silent(self, database: Database, clock: FakeClock) -> None:
        await jobs.ask(database, clock, "enrol", {}, by="ada")
        lost = await jobs.take(database, clock, "w1", KINDS)
        assert lost is not None
        clock.advance(SILENT_S - 1)
        assert await jobs.tell(database, clock, lost, JobProgress("fit"))
        clock.advance(SILENT_S - 1)
        assert await jobs.take(database, clock, "w2", KINDS) is None
        clock.advance(2)
        found = await jobs.take(database, clock, "w1", KINDS)
        assert found is not None
        assert (found.number, found.tries) == (lost.number, 2)
        assert not await jobs.tell(database, clock, lost, JobProgress()), "the first try has lost it"
        assert not await jobs.end(database, clock, lost, JobState.DONE, detail="late")
        assert await jobs.tell(database, clock, found, JobProgress())

    async def test_take_of_a_job_that_ended_its_workers_fails_it(self, database: Database, clock: FakeClock) -> None:
        asked = await jobs.ask(database, clock, "enrol", {}, by="ada")
        for _ in range(MOST_TRIES):
            assert await jobs.take(database, clock, "w1", KINDS) is not None
            clock.advance(SILENT_S + 1)
        assert await jobs.take(database, clock, "w1", KINDS) is None
        failed = await jobs.job_of(database, asked.number)
        assert (failed.state, failed.ended_at) == (JobState.FAILED, clock.now())
        assert "without a word" in failed.detail

    async def test_give_back_queues_the_job_without_counting_the_try(
        self, database: Database, clock: FakeClock
    ) -> None:
        asked = await jobs.ask(database, clock, "enrol", {}, by="ada")
        for _ in range(MOST_TRIES + 1):
            job = await jobs.take(database, clock, "w1", KINDS)
            assert job is not None
            assert await jobs.give_back(database, job)
        assert await jobs.job_of(database, asked.number) == asked

    async def test_cancel_of_a_running_job_stops_its_worker_and_lasts(
        self, database: Database, clock: FakeClock
    ) -> None:
        asked = await jobs.ask(database, clock, "enrol", {}, by="ada")
        job = await jobs.take(database, clock, "w1", KINDS)
        assert job is not None
        cancelled = await jobs.cancel(database, clock, asked.number, by="bo")
        assert (cancelled.state, cancelled.detail) == (JobState.CANCELLED, "cancelled by bo")
        assert not await jobs.tell(database, clock, job, JobProgress("fit", 1, 2))
        assert not await jobs.end(database, clock, job, JobState.DONE, detail="version 2")
        assert not await jobs.give_back(database, job)
        assert await jobs.job_of(database, asked.number) == cancelled
        with pytest.raises(UsageError, match="cancelled already"):
            await jobs.cancel(database, clock, asked.number, by="bo")
        for unknown in (asked.number + 1, 0, 2**70):
            with pytest.raises(UsageError, match="no job"):
                await jobs.cancel(database, clock, unknown, by="bo")

    async def test_listed_jobs_are_newest_first_and_selected(self, database: Database, clock: FakeClock) -> None:
        for kind in ("enrol", "rescore", "enrol"):
            await jobs.ask(database, clock, kind, {}, by="ada")
        await jobs.take(database, clock, "w1", KINDS)

        async def numbers(wanted: JobFilter | None, limit: int = 10) -> list[int]:
            return [job.number for job in await jobs.listed(database, wanted, limit=limit)]

        assert await numbers(None) == [3, 2, 1]
        assert await numbers(None, limit=1) == [3]
        assert await numbers(JobFilter(kind="enrol")) == [3, 1]
        assert await numbers(JobFilter(states=frozenset({JobState.RUNNING}))) == [1]


class TestSqliteJobs(JobsContract):
    @pytest.fixture
    def database(self, sqlite: Database) -> Database:
        return sqlite


class TestPostgresJobs(JobsContract):
    @pytest.fixture
    def database(self, postgres: Database) -> Database:
        return postgres
