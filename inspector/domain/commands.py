"""Commands to a line (job, mode, resync, golden), as they arrive and as the store keeps them."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime


class CommandName(enum.StrEnum):
    """What a line may be told."""

    JOB = "job"
    MODE = "mode"
    RESYNC = "resync"
    GOLDEN = "golden"


@dataclass(frozen=True, slots=True)
class CommandRequest:
    """A message of a command topic as it arrived."""

    name: CommandName
    payload: bytes
    received_at: datetime
    is_retained: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """One change that a command makes: to which gate (or camera), from what to what. Goes into the audit."""

    owner: str
    what: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class CommandRecord:
    """A command that was obeyed or refused, as the store keeps it. `cmd_id` is used once per agent."""

    cmd_id: str
    name: CommandName
    agent: str
    by: str
    reason: str
    sent_at: datetime
    received_at: datetime
    is_obeyed: bool
    detail: str
    orders: tuple[Order, ...] = ()
