"""The worker: jobs in their order, the truth about how each ended, and nothing lost when it is stopped or killed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from inspector.agent.clock import SystemClock
from inspector.config.config import Config
from inspector.domain import JobProgress, JobState, LongJob
from inspector.enrolment import worker
from inspector.enrolment.low_priority import Progress
from inspector.enrolment.worker import Done, enrolment_request_of, work
from inspector.errors import EnrolmentError, UsageError
from inspector.operation.opening import database_of
from inspector.store import jobs, tables
from inspector.store.database import Database

CLOCK = SystemClock()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config.model_validate({"agent": {"state_dir": str(tmp_path / "state")}})


@pytest.fixture
async def database(config: Config) -> AsyncIterator[Database]:
    async with database_of(config, creates=True) as database:
        yield database


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "BEAT_S", 0.02)
    monkeypatch.setattr(worker, "POLL_S", 0.02)


async def ended(database: Database, number: int) -> LongJob:
    return await jobs.job_of(database, number)


async def test_work_does_each_job_in_order_and_keeps_how_it_ended(config: Config, database: Database) -> None:
    done: list[int] = []

    async def count(_config: Config, job: LongJob, progress: Progress) -> Done:
        progress("counting", 1, 2)
        done.append(job.request["n"])
        if job.request["n"] == 2:
            raise EnrolmentError("Two can't be counted.")
        if job.request["n"] == 3:
            raise FileNotFoundError(2, "No such file", "three.png")
        return Done(f"counted {job.request['n']}", {"n": job.request["n"]})

    numbers = [(await jobs.ask(database, CLOCK, "count", {"n": n}, by="ada")).number for n in (1, 2, 3)]
    await work(config, asyncio.Event(), until_idle=True, kinds={"count": count})
    assert done == [1, 2, 3]
    first, second, third = [await ended(database, number) for number in numbers]
    assert (first.state, first.detail, first.result) == (JobState.DONE, "counted 1", {"n": 1})
    assert (second.state, second.detail) == (JobState.FAILED, "Two can't be counted.")
    assert (third.state, "three.png" in third.detail) == (JobState.FAILED, True)


async def test_work_tells_its_progress_while_it_lasts(config: Config, database: Database) -> None:
    seen = asyncio.Event()

    async def wait(_config: Config, _job: LongJob, progress: Progress) -> Done:
        progress("fit", 3, 10)
        await seen.wait()
        return Done("over", {})

    number = (await jobs.ask(database, CLOCK, "wait", {}, by="ada")).number
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(work(config, asyncio.Event(), until_idle=True, kinds={"wait": wait}))
        while (await ended(database, number)).progress != JobProgress("fit", 3, 10):
            await asyncio.sleep(0.01)
        seen.set()
    assert (await ended(database, number)).state is JobState.DONE


async def test_work_that_is_stopped_puts_its_job_back(config: Config, database: Database) -> None:
    stop, cancelled = asyncio.Event(), asyncio.Event()

    async def endless(_config: Config, _job: LongJob, _progress: Progress) -> Done:
        stop.set()
        try:
            await asyncio.sleep(3600)
        finally:
            cancelled.set()
        return Done("never", {})

    number = (await jobs.ask(database, CLOCK, "wait", {}, by="ada")).number
    async with asyncio.timeout(20):
        await work(config, stop, kinds={"wait": endless})
    assert cancelled.is_set()
    job = await ended(database, number)
    assert (job.state, job.tries, job.worker) == (JobState.QUEUED, 0, None)


async def test_work_on_a_cancelled_job_ends_and_the_next_job_is_done(config: Config, database: Database) -> None:
    begun = asyncio.Event()

    async def either(_config: Config, job: LongJob, _progress: Progress) -> Done:
        if job.request["waits"]:
            begun.set()
            await asyncio.sleep(3600)
        return Done("over", {})

    first, second = [(await jobs.ask(database, CLOCK, "wait", {"waits": waits}, by="ada")) for waits in (True, False)]
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(work(config, asyncio.Event(), until_idle=True, kinds={"wait": either}))
        await begun.wait()
        await jobs.cancel(database, CLOCK, first.number, by="bo")
    assert (await ended(database, first.number)).state is JobState.CANCELLED
    assert (await ended(database, second.number)).state is JobState.DONE


async def test_job_of_a_killed_worker_is_done_by_the_next_after_its_silence(
    config: Config, database: Database, tmp_path: Path
) -> None:
    number = (await jobs.ask(database, CLOCK, "wait", {}, by="ada")).number
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(config.agent.state_dir)], cwd=tmp_path)
    try:
        async with asyncio.timeout(60):
            while (await ended(database, number)).progress.phase != "begun":
                assert process.poll() is None
                await asyncio.sleep(0.05)
    finally:
        process.kill()
        process.wait()

    async def again(_config: Config, job: LongJob, _progress: Progress) -> Done:
        return Done(f"try {job.tries}", {})

    await work(config, asyncio.Event(), until_idle=True, kinds={"wait": again})
    assert (await ended(database, number)).state is JobState.RUNNING, "its silence has not lasted"
    long_ago = CLOCK.now() - timedelta(seconds=jobs.SILENT_S + 1)
    async with database.writing() as connection:
        await connection.execute(tables.jobs.update().values(heard_at=long_ago))
    await work(config, asyncio.Event(), until_idle=True, kinds={"wait": again})
    job = await ended(database, number)
    assert (job.state, job.detail) == (JobState.DONE, "try 2")


KILLED = """
import asyncio, sys
from inspector.config.config import Config
from inspector.enrolment import worker

async def endless(config, job, progress):
    progress("begun", 0, 0)
    await asyncio.sleep(3600)

worker.BEAT_S = 0.02
config = Config.model_validate({"agent": {"state_dir": sys.argv[1]}})
asyncio.run(worker.work(config, asyncio.Event(), kinds={"wait": endless}))
"""


def job_of(**request: Any) -> LongJob:
    return LongJob(1, "enrol", request, by="ada", asked_at=CLOCK.now())


def test_enrolment_request_of_a_job_has_its_person_and_comes_after_the_line() -> None:
    asked = job_of(product="bolt", images=["a", "b/c.png"], head="student", named=["head"])
    request = enrolment_request_of(asked)
    assert (request.product, request.by, request.at_low_priority) == ("bolt", "ada", True)
    assert request.images == (Path("a"), Path("b/c.png"))
    assert (request.head, request.named) == ("student", frozenset({"head"}))


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({}, "product"),
        ({"product": "bolt", "by": "root"}, "'by'"),
        ({"product": "bolt", "at_low_priority": False}, "'at_low_priority'"),
        ({"product": "bolt", "images": 7}, "images"),
        ({"product": "bolt", "colour": "red"}, "'colour'"),
    ],
)
def test_enrolment_request_of_a_wrong_job_raises_usage_error(request_: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        enrolment_request_of(job_of(**request_))
