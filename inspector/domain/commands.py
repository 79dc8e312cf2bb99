"""Commands to a line (job, mode, resync, golden), as they arrive and as they are stored."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime


class CommandName(enum.StrEnum):
    """The commands that a line obeys."""

    JOB = "job"
    MODE = "mode"
    RESYNC = "resync"
    GOLDEN = "golden"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class CommandRequest:
    """A message of a command topic as it arrived."""

    name: CommandName
    payload: bytes
    received_at: datetime
    is_retained: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """One change that a command makes to a gate (or camera without one), for the audit: from `old` to `new`."""

    owner: str
    what: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class GivenOrder:
    """An order that was obeyed, and who gave it when and why (the reason names the command)."""

    order: Order
    by: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class CommandRecord:
    """A command that was obeyed or refused, as it is stored. An agent takes each `cmd_id` once."""

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
