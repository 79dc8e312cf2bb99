"""A reject gate: the actions sent to it, and its state that survives a restart."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
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
    """Mode and job of a gate (or a camera without a gate) at the time when a part came.

    `is_master`: the part may be a reference part of the challenge that is under way.
    """

    mode: GateMode = GateMode.AUTO
    job: Job | None = None
    is_master: bool = False


NOTHING_TOLD = Standing()
"""Mode auto and no job."""


class HeldFor(enum.StrEnum):
    """Why a gate is held."""

    CONSECUTIVE_REJECTS = "consecutive_rejects"
    REJECT_SHARE = "reject_share"
    NO_TRIGGER_ID = "no_trigger_id"
    UNKNOWN_PRODUCT = "unknown_product"
    FRAME_HEALTH = "frame_health"
    ACCOUNT = "account"
    GOLDEN_FAILED = "golden_failed"
    GOLDEN_MISSING = "golden_missing"


UNRELEASED = frozenset({HeldFor.GOLDEN_FAILED, HeldFor.GOLDEN_MISSING})
"""A gate that is held for one of these judges no part: nobody has shown that it would do so rightly."""


@dataclass(frozen=True, slots=True)
class CauseRun:
    """The number of frames in a row for which one camera got the same cause."""

    camera: str
    cause: str
    count: int


@dataclass(frozen=True, slots=True)
class StormCounts:
    """The last parts that were told, oldest first ("1" reject, "0" any other action), and the runs of all cameras."""

    recent: str = ""
    runs: tuple[CauseRun, ...] = ()


@dataclass(frozen=True, slots=True)
class GoldenState:
    """What a gate's state knows about challenges.

    `challenge` is the id of the one under way. `masters` are its part ids (empty: parts come in order), and
    `is_collecting` says that some have not come yet.

    `settled_at` is when a challenge was passed last, or a person released the gate instead; `product` and `versions`
    (each `product:version`) are what was made and live then. A challenge is due since `due_at` for `due_for`.
    """

    challenge: str | None = None
    masters: tuple[str, ...] = ()
    is_collecting: bool = False
    settled_at: datetime | None = None
    product: str | None = None
    versions: tuple[str, ...] = ()
    due_at: datetime | None = None
    due_for: str | None = None

    def may_be_master(self, part_id: str | None) -> bool:
        """Whether a part that comes now may be a reference part."""
        return self.is_collecting and (not self.masters or part_id in self.masters)


@dataclass(frozen=True, slots=True)
class HoldNote:
    """The beginning of a hold, as the journal keeps it. `releases`: the gate's count of releases before it.

    `since` and `by` (the agent that held the gate) are None in a journal of an earlier version.
    """

    gate: str
    held_for: HeldFor
    releases: int
    since: datetime | None = None
    by: str | None = None


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

    `held` ends only with a release, which `releases` counts. `held_since` is when the hold began and `held_by` is the
    agent that began it; another agent that takes the gate over keeps both. `watched` counts the changes of the fields
    about holds: of two states with equal `releases`, the state with the higher count has the newer counts.

    `elsewhere` holds the epochs, first and last of each run, that agents with ledgers of their own have begun: their
    parts are not this ledger's to account for.

    `ended_holds` names the last holds that a person ended, oldest first, so that an agent which did not hear of it does
    not hold the gate again. `modulus`: the camera's modulus that `last_trigger` was counted with (None: not known).

    `epoch_of` is the identity of the agent that began the epoch ("": not known). Epochs of two agents without a common
    ledger are the same only if both number and identity are.
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
    held_for: HeldFor | None = None
    storm: StormCounts = StormCounts()
    releases: int = 0
    watched: int = 0
    golden: GoldenState = GoldenState()
    gaps: tuple[Gap, ...] = ()
    held_since: datetime | None = None
    held_by: str | None = None
    epoch_of: str = ""
    ended_holds: tuple[str, ...] = ()
    elsewhere: tuple[tuple[int, int], ...] = ()
    modulus: int | None = None

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
    """An agent that decides about the parts of a gate. `session` is one run of its process.

    `seen_at`: when it last said so in the ledger, by its own clock; None if it was heard at the broker. `identity` and
    `state`, what the gate stands at, are known of an owner that was heard at the broker ("" and None: not told).
    """

    gate: str
    agent: str
    session: str
    epoch: int
    seen_at: datetime | None = None
    identity: str = field(default="", compare=False)
    state: GateState | None = field(default=None, compare=False)

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
