"""Long jobs as rows: asked for by people, taken by workers one at a time.

A worker gives signs of life while it works. A running job whose worker was silent for `SILENT_S` is taken again, by
any worker; after `MOST_TRIES` tries it has failed, because it may be the job that ends its workers. Whatever a worker
writes about a job counts only while the job is still its own, so that a cancelled job stays cancelled.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from inspector.domain import JobProgress, JobState, LongJob
from inspector.errors import RowDamaged, UsageError
from inspector.ports import Clock
from inspector.store.database import Database
from inspector.store.retention.holds import LARGEST_NUMBER
from inspector.store.row_mapping import storable
from inspector.store.tables import jobs

SILENT_S: Final = 60.0
"""A worker that has said nothing for so long is gone. It says something every few seconds."""

MOST_TRIES: Final = 2

_GONE: Final = "its worker ended without a word, {tries} times; look into the worker's log before asking again"


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Selects jobs; None means any."""

    kind: str | None = None
    states: frozenset[JobState] | None = None


async def ask(database: Database, clock: Clock, kind: str, request: Mapping[str, Any], *, by: str) -> LongJob:
    """Queue a job. The request must be a JSON object; the worker checks what is in it."""
    row = {
        "kind": kind,
        "request": dict(request),
        "asked_by": storable(by),
        "asked_at": clock.now(),
        "state": JobState.QUEUED.value,
        "progress": asdict(JobProgress()),
        "detail": "",
        "tries": 0,
    }
    async with database.writing() as connection:
        number = (await connection.execute(jobs.insert().values(**row))).inserted_primary_key[0]  # type: ignore[index]  # one row, one key
        return await _read(connection, number)


async def take(database: Database, clock: Clock, worker: str, kinds: Collection[str]) -> LongJob | None:
    """The oldest job of these kinds that waits or whose worker is gone, now this worker's; None if there is none."""
    now = clock.now()
    silent = sa.and_(
        jobs.c.state == JobState.RUNNING.value,
        sa.or_(jobs.c.heard_at.is_(None), jobs.c.heard_at < now - timedelta(seconds=SILENT_S)),
    )
    waits = sa.or_(jobs.c.state == JobState.QUEUED.value, silent)
    async with database.reading() as connection:  # an idle worker must not take SQLite's one write lock every second
        if (await connection.execute(sa.select(jobs.c.id).where(waits).limit(1))).first() is None:
            return None
    async with database.writing() as connection:
        await connection.execute(
            jobs.update()
            .where(silent, jobs.c.tries >= MOST_TRIES)
            .values(state=JobState.FAILED.value, ended_at=now, detail=_GONE.format(tries=MOST_TRIES))
        )
        query = sa.select(jobs.c.id).where(waits, jobs.c.kind.in_(list(kinds))).order_by(jobs.c.id).limit(1)
        number = (await connection.execute(query.with_for_update(skip_locked=True))).scalar_one_or_none()
        if number is None:
            return None
        taken = {
            "state": JobState.RUNNING.value,
            "worker": storable(worker),
            "tries": jobs.c.tries + 1,
            "started_at": now,
            "heard_at": now,
            "progress": asdict(JobProgress()),
        }
        await connection.execute(jobs.update().where(jobs.c.id == number).values(**taken))
        return await _read(connection, number)


async def tell(database: Database, clock: Clock, job: LongJob, progress: JobProgress) -> bool:
    """Say that the worker lives and how far it is. False: the job is no longer its own, and it should stop."""
    values = {"heard_at": clock.now(), "progress": _stored(progress)}
    async with database.writing() as connection:
        return bool((await connection.execute(jobs.update().where(_is_own(job)).values(**values))).rowcount)


async def end(
    database: Database,
    clock: Clock,
    job: LongJob,
    state: JobState,
    *,
    detail: str,
    result: Mapping[str, Any] | None = None,
) -> bool:
    """Write how the job ended. False: it is no longer this worker's, and nothing was written."""
    values = {
        "state": state.value,
        "ended_at": clock.now(),
        "detail": storable(detail),
        "result": None if result is None else dict(result),
    }
    async with database.writing() as connection:
        return bool((await connection.execute(jobs.update().where(_is_own(job)).values(**values))).rowcount)


async def give_back(database: Database, job: LongJob) -> bool:
    """Put a job that this worker can't finish now at its place in the queue; the try does not count."""
    values = {
        "state": JobState.QUEUED.value,
        "tries": jobs.c.tries - 1,
        "worker": None,
        "started_at": None,
        "heard_at": None,
        "progress": asdict(JobProgress()),
    }
    async with database.writing() as connection:
        return bool((await connection.execute(jobs.update().where(_is_own(job)).values(**values))).rowcount)


async def cancel(database: Database, clock: Clock, number: int, *, by: str) -> LongJob:
    """Cancel a job that waits or runs; its worker stops within seconds. Raises UsageError where that is too late."""
    values = {"state": JobState.CANCELLED.value, "ended_at": clock.now(), "detail": storable(f"cancelled by {by}")}
    async with database.writing() as connection:
        job = await _known(connection, number)
        is_open = jobs.c.state.in_([JobState.QUEUED.value, JobState.RUNNING.value])
        done = await connection.execute(jobs.update().where(jobs.c.id == number, is_open).values(**values))
        if not done.rowcount:
            raise UsageError(f"Job {number} is {job.state.value} already and can't be cancelled.")
        return await _read(connection, number)


async def job_of(database: Database, number: int) -> LongJob:
    """The job of that number. Raises UsageError where there is none."""
    async with database.reading() as connection:
        return await _known(connection, number)


async def listed(database: Database, wanted: JobFilter | None = None, *, limit: int = 50) -> list[LongJob]:
    """The newest `limit` jobs, newest first."""
    wanted = wanted or JobFilter()
    query = sa.select(jobs).order_by(jobs.c.id.desc()).limit(limit)
    if wanted.kind is not None:
        query = query.where(jobs.c.kind == wanted.kind)
    if wanted.states is not None:
        query = query.where(jobs.c.state.in_([state.value for state in wanted.states]))
    async with database.reading() as connection:
        return [_job(row) for row in (await connection.execute(query)).mappings()]


def _is_own(job: LongJob) -> sa.ColumnElement[bool]:
    """True while the job is the one that this worker took: the same worker takes it a second time as another try."""
    return sa.and_(
        jobs.c.id == job.number,
        jobs.c.state == JobState.RUNNING.value,
        jobs.c.worker == storable(job.worker),
        jobs.c.tries == job.tries,
    )


def _stored(progress: JobProgress) -> dict[str, Any]:
    return {name: storable(value) for name, value in asdict(progress).items()}


async def _known(connection: AsyncConnection, number: int) -> LongJob:
    if 0 < number <= LARGEST_NUMBER:
        row = (await connection.execute(sa.select(jobs).where(jobs.c.id == number))).mappings().first()
        if row is not None:
            return _job(row)
    raise UsageError(f"There is no job {number}.")


async def _read(connection: AsyncConnection, number: int) -> LongJob:
    return _job((await connection.execute(sa.select(jobs).where(jobs.c.id == number))).mappings().one())


def _job(row: Mapping[Any, Any]) -> LongJob:
    try:
        return LongJob(
            number=row["id"],
            kind=row["kind"],
            request=dict(row["request"]),
            by=row["asked_by"],
            asked_at=row["asked_at"],
            state=JobState(row["state"]),
            progress=JobProgress(**row["progress"]),
            result=row["result"],
            detail=row["detail"],
            worker=row["worker"],
            tries=row["tries"],
            started_at=row["started_at"],
            heard_at=row["heard_at"],
            ended_at=row["ended_at"],
        )
    except (ValueError, TypeError) as error:
        raise RowDamaged(
            f"The row of job {row['id']} can't be read ({error}); mend it in the database, or remove the row."
        ) from error
