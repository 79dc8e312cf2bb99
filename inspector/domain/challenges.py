"""A golden challenge: reference parts that a person runs through a gate, and what became of them."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from inspector.domain.verdicts import Outcome


class ChallengeResult(enum.StrEnum):
    """Where a challenge stands."""

    OPEN = "open"
    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Master:
    """A reference part that must come. `part_id` None: it is found by its place in the order."""

    expected: Outcome
    part_id: str | None = None


@dataclass(frozen=True, slots=True)
class SeenMaster:
    """A reference part that came. `told`: whether its decision reached the broker in time, None while it is open."""

    epoch: int
    trigger_id: int | None
    part_id: str | None
    outcome: Outcome
    cause: str
    result_id: str
    told: bool | None = None


@dataclass(frozen=True, slots=True)
class MasterAck:
    """The PLC's report on a reference part."""

    epoch: int
    trigger_id: int
    action: int
    source: int
    done: int


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge of one gate, with the person who ordered it. `detail` says in one sentence how it ended.

    `challenge_id` is the `cmd_id` of the command, and unique with the agent. `product` None: any product may come.
    """

    challenge_id: str
    gate: str
    agent: str
    by: str
    reason: str
    begun: datetime
    within_s: float
    expected: tuple[Master, ...]
    product: str | None = None
    version: int | None = None
    seen: tuple[SeenMaster, ...] = ()
    acks: tuple[MasterAck, ...] = ()
    result: ChallengeResult = ChallengeResult.OPEN
    ended: datetime | None = None
    detail: str = ""
