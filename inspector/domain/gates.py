"""A reject gate: what it is told, what it says it did, and the state about it that survives a restart."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime


class Action(enum.StrEnum):
    """What a gate is told to do with a part, after the camera's policy."""

    NONE = "none"
    PASS = "pass"
    REJECT = "reject"
    QUARANTINE = "quarantine"


class GateMode(enum.StrEnum):
    """What the line is doing; recorded in each row."""

    AUTO = "auto"
    BYPASS = "bypass"
    SETUP = "setup"
    CLEAN = "clean"
    GOLDEN = "golden"


@dataclass(frozen=True, slots=True)
class Job:
    """What a line is told to make, from one part of its gate (or camera without a gate) on.

    `job_id` None: no job runs from there. `product` is announced, a claim to check. It is of effect for parts
    from (`from_epoch`, `from_count`) on, the count going on over wraps; -1 stands before every count.
    """

    job_id: str | None
    lot: str | None
    product: str | None
    from_epoch: int
    from_count: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What a gate (or a camera without a gate) was told to do when a part came: its mode and its job."""

    mode: GateMode = GateMode.AUTO
    job: Job | None = None


NOTHING_TOLD = Standing()
"""Auto, and no job."""


@dataclass(frozen=True, slots=True)
class GateState:
    """What must survive a restart about one gate (or one camera without a gate).

    `last_trigger` counts on over wraps: lap x modulus + the number the camera sent. `mode` is of effect until
    `mode_expires_at` (None: for good), then it is auto. `jobs`: the one that runs and its neighbours, oldest first.
    `orders` counts the commands obeyed: of two states, mode and jobs of the one with more of them count.
    """

    name: str
    epoch: int = 1
    last_trigger: int | None = None
    reject_streak: int = 0
    held: bool = False
    mode: GateMode = GateMode.AUTO
    mode_expires_at: datetime | None = None
    jobs: tuple[Job, ...] = ()
    orders: int = 0

    def mode_at(self, now: datetime) -> GateMode:
        """The mode, unless its time is over."""
        is_over = self.mode_expires_at is not None and now >= self.mode_expires_at
        return GateMode.AUTO if is_over else self.mode

    def job_of(self, epoch: int, count: int) -> Job | None:
        """The job of the part with this count; None where no job runs."""
        begun = [job for job in self.jobs if (job.from_epoch, job.from_count) <= (epoch, count)]
        return begun[-1] if begun and begun[-1].job_id is not None else None


@dataclass(frozen=True, slots=True)
class GateAction:
    """What the PLC says it did with one part: the only true count of parts.

    `source`: 1 decision, 2 time-out default, 3 bypass, 4 manual. `done`: 1 = seen by the reject sensor.
    """

    gate: str
    epoch: int
    trigger_id: int
    action: int
    source: int
    done: int
    received_at: datetime
