"""Work of minutes that a person asks for and a worker does: a row of `jobs`."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


class JobState(enum.StrEnum):
    """Where the work stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        return self not in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class JobProgress:
    """The phase that the work is in. `total` 0: it is not known how much the phase has to do."""

    phase: str = ""
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class LongJob:
    """One piece of work. `request` and `result` are JSON objects, whose keys depend on `kind`.

    `detail`: how it ended, in a sentence; empty before that. `worker`: who does it, or did it last. `tries`: how often
    a worker began it. `heard_at`: the worker's last sign of life.
    """

    number: int
    kind: str
    request: Mapping[str, Any]
    by: str
    asked_at: datetime
    state: JobState = JobState.QUEUED
    progress: JobProgress = field(default_factory=JobProgress)
    result: Mapping[str, Any] | None = None
    detail: str = ""
    worker: str | None = None
    tries: int = 0
    started_at: datetime | None = None
    heard_at: datetime | None = None
    ended_at: datetime | None = None
