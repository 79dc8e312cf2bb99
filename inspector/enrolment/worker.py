"""Does the long jobs that people ask for: one at a time, the oldest first, without slowing down a running line.

A job of the kind `enrol` is done by the service behind `inspector enroll`, in a child process of lowest priority. The
worker itself keeps its priority, because it holds locks of the database for moments. It may be killed at any time: the
job is then taken again (`inspector.store.jobs`). What it stores at the end of an enrolment is one transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from pydantic import TypeAdapter, ValidationError

from inspector.agent.clock import SystemClock
from inspector.config.config import Config
from inspector.domain import JobProgress, JobState, LongJob
from inspector.enrolment.enrolled_document import enrolled_document
from inspector.enrolment.enrolment_request import EnrolmentRequest, enrol_on_request
from inspector.enrolment.low_priority import Progress
from inspector.errors import InspectorError, LedgerUnavailable, UsageError
from inspector.operation.opening import database_of
from inspector.store import jobs
from inspector.store.database import Database

POLL_S: Final = 1.0
BEAT_S: Final = 5.0
"""Seconds between two signs of life, well within `jobs.SILENT_S`."""

ENROL: Final = "enrol"

_LOG: Final = structlog.get_logger("inspector")
_REQUEST: Final = TypeAdapter(EnrolmentRequest)
_OWN_FIELDS: Final = frozenset({"by", "at_low_priority"})
"""Fields of an enrolment that the job's request can't name: the job has the person, and a line always comes first."""


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a job: a sentence for people, and the same as a JSON object."""

    detail: str
    result: Mapping[str, Any]


Doing = Callable[[Config, LongJob, Progress], Awaitable[Done]]


async def enrol_for_job(config: Config, job: LongJob, progress: Progress) -> Done:
    """The enrolment that the job asks for. Raises as `enrolment_request_of` and `enrol_on_request`."""
    done = await enrol_on_request(config, enrolment_request_of(job), progress)
    version = done.version
    state = "live" if version.is_live else "the shadow" if version.is_shadow else "stored and not live"
    objected = f": {'; '.join(done.objections)}" if done.objections else ""
    return Done(f"{version.product} version {version.version} is {state}{objected}", enrolled_document(done))


def enrolment_request_of(job: LongJob) -> EnrolmentRequest:
    """The request of a job of the kind `enrol`: an object with the fields of `EnrolmentRequest`. Raises UsageError."""
    allowed = {each.name for each in dataclasses.fields(EnrolmentRequest)} - _OWN_FIELDS
    if unknown := sorted(job.request.keys() - allowed):
        raise UsageError(f"Job {job.number} asks for an enrolment with {unknown[0]!r}, which is none of its settings.")
    try:
        return _REQUEST.validate_python({**job.request, "by": job.by})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"Job {job.number} can't be enrolled: {where}: {first['msg']}.") from error


KINDS: Final[Mapping[str, Doing]] = {ENROL: enrol_for_job}


async def work(
    config: Config, stop: asyncio.Event, *, until_idle: bool = False, kinds: Mapping[str, Doing] = KINDS
) -> None:
    """Do jobs until `stop` is set, or until none waits. A job that is under way then goes back into the queue.

    Raises as `database_of` if the database can't be used at the start; later it is waited for.
    """
    async with database_of(config, creates=True) as database:
        database.chain.ensure_there()
        worker = _Worker(config, database, stop, kinds)
        while not stop.is_set():
            job = await worker.taken()
            if job is not None:
                await worker.do(job)
            elif until_idle:
                return
            else:
                await _wait(stop, POLL_S)


@dataclass
class _Worker:
    config: Config
    database: Database
    stop: asyncio.Event
    kinds: Mapping[str, Doing]
    clock: SystemClock = field(default_factory=SystemClock)
    name: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")
    is_away: bool = False

    async def taken(self) -> LongJob | None:
        """The next job, now this worker's; None if none waits or the database does not answer."""
        try:
            job = await jobs.take(self.database, self.clock, self.name, self.kinds)
        except LedgerUnavailable as error:
            if not self.is_away:
                _LOG.warning("jobs_wait", detail=str(error))
            self.is_away = True
            return None
        self.is_away = False
        return job

    async def do(self, job: LongJob) -> None:
        """Do a job to its end, unless it is cancelled or the worker is told to stop."""
        _LOG.info("job_begins", job=job.number, kind=job.kind, by=job.by, tries=job.tries)
        latest = _Latest()
        doing = asyncio.ensure_future(self.kinds[job.kind](self.config, job, latest.note))
        try:
            while not doing.done():
                await self._beat(doing)
                if doing.done():
                    break
                if self.stop.is_set():
                    await _ended(doing)
                    await jobs.give_back(self.database, job)
                    _LOG.info("job_queued_again", job=job.number)
                    return
                if not await self._is_own(job, latest.progress):
                    _LOG.info("job_cancelled", job=job.number)
                    return
        finally:
            await _ended(doing)
        await self._conclude(job, *_outcome(doing))

    async def _beat(self, doing: asyncio.Future[Done]) -> None:
        """Returns when the work is done, the worker shall stop, or a sign of life is due."""
        stopping = asyncio.ensure_future(self.stop.wait())
        both: list[asyncio.Future[Any]] = [doing, stopping]
        await asyncio.wait(both, timeout=BEAT_S, return_when=asyncio.FIRST_COMPLETED)
        await _ended(stopping)

    async def _is_own(self, job: LongJob, progress: JobProgress) -> bool:
        try:
            return await jobs.tell(self.database, self.clock, job, progress)
        except LedgerUnavailable as error:  # the work goes on: an enrolment waits for the database itself
            _LOG.warning("job_goes_on_unheard", job=job.number, detail=str(error))
            return True

    async def _conclude(self, job: LongJob, state: JobState, detail: str, result: Mapping[str, Any] | None) -> None:
        """Write how the job ended, as soon as the database takes it."""
        _LOG.info("job_ends", job=job.number, state=state.value, detail=detail)
        while True:
            try:
                await jobs.end(self.database, self.clock, job, state, detail=detail, result=result)
            except LedgerUnavailable as error:
                if self.stop.is_set() or not error.retryable:
                    raise
                await _wait(self.stop, POLL_S)
            else:
                return


class _Latest:
    """The newest progress. The work notes it, perhaps on another thread; the worker reads it."""

    def __init__(self) -> None:
        self.progress = JobProgress()

    def note(self, phase: str, done: int, total: int) -> None:
        self.progress = JobProgress(phase, done, total)


def _outcome(doing: asyncio.Future[Done]) -> tuple[JobState, str, Mapping[str, Any] | None]:
    try:
        done = doing.result()
    except InspectorError as error:
        return JobState.FAILED, str(error), None
    except OSError as error:
        return JobState.FAILED, f"The system refused: {error.filename or ''} {error.strerror or error}.", None
    return JobState.DONE, done.detail, done.result


async def _ended(task: asyncio.Future[Any]) -> None:
    """Cancel a task unless it is done, and wait for its end. What it raises then is of no interest."""
    if not task.done():
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, InspectorError, OSError):
            await task


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
