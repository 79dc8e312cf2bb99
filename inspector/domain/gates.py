"""A reject gate: the actions sent to it, and its state that survives a restart."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime


class Action(enum.StrEnum):
    """The action that a gate must take with a part, by the camera's policy."""

    NONE = "none"
    PASS = "pass"
    REJECT = "reject"
    QUARANTINE = "quarantine"


class GateMode(enum.StrEnum):
    """The mode of a line, recorded in each row. In BYPASS, SETUP and CLEAN no part is judged."""

    AUTO = "auto"
    BYPASS = "bypass"
    SETUP = "setup"
    CLEAN = "clean"
    GOLDEN = "golden"


@dataclass(frozen=True, slots=True)
class Job:
    """The job of a line, from one part of its gate (or camera without a gate) on.

    `job_id` None: no job runs from that part on. `product` is announced, and checked against each frame. The job has
    effect from the part (`from_epoch`, `from_count`) on; the count rises over wraps, and -1 is before every count.
    """

    job_id: str | None
    lot: str | None
    product: str | None
    from_epoch: int
    from_count: int


@dataclass(frozen=True, slots=True)
class Standing:
    """Mode and job of a gate (or a camera without a gate) at the time when a part came."""

    mode: GateMode = GateMode.AUTO
    job: Job | None = None


NOTHING_TOLD = Standing()
"""Mode auto and no job."""


@dataclass(frozen=True, slots=True, order=True)
class Gap:
    """Skipped parts without a row: the counts from `first` to `last`, both included, of one epoch."""

    epoch: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class GateState:
    """The state of one gate (or one camera without a gate) that survives a restart.

    `last_trigger` rises over wraps: lap x modulus + the number that the camera sent. `mode` holds until
    `mode_expires_at` (None: without end); after that the mode is auto. `jobs`: the current job,
    earlier jobs and announced jobs, oldest first. `orders` counts the obeyed commands: of two states, the state with
    the higher count has the newer mode and jobs. `gaps`: skipped parts that have no row yet, in order.
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
    gaps: tuple[Gap, ...] = ()

    def mode_at(self, now: datetime) -> GateMode:
        """The mode at this time: auto if the mode's time is over."""
        is_over = self.mode_expires_at is not None and now >= self.mode_expires_at
        return GateMode.AUTO if is_over else self.mode

    def job_of(self, epoch: int, count: int) -> Job | None:
        """The job of the part with this count; None if the part has no job."""
        begun = [job for job in self.jobs if (job.from_epoch, job.from_count) <= (epoch, count)]
        return begun[-1] if begun and begun[-1].job_id is not None else None


@dataclass(frozen=True, slots=True)
class GateOwner:
    """An agent that decides about the parts of a gate. `session` is one run of its process."""

    gate: str
    agent: str
    session: str
    epoch: int

    def __str__(self) -> str:
        return f"{self.agent} (session {self.session})"


@dataclass(frozen=True, slots=True)
class AgentPresence:
    """One run of an agent. `identity` is kept in the state folder, so a restarted agent has the same one."""

    name: str
    identity: str
    session: str
    software: str
    config_digest: str
    started_at: datetime
