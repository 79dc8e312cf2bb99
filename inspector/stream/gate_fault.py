"""Why a gate is not ready: the number in its heartbeat, and what it means in words. Pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final


class Fault(enum.IntEnum):
    """The heartbeat's `fault`; append-only."""

    NONE = 0
    NO_PRODUCT = 1
    CANARY = 2
    JOURNAL_FULL = 3
    CAMERA_LINK = 4
    HELD = 5
    BACKLOG = 6
    LATE = 7
    STOPPING = 8
    OWNED_BY_OTHER = 9
    OWNER_UNKNOWN = 10
    """Only in the state topic: no heartbeat is sent while it is not known who owns the gate."""
    UNTOLD = 11


WORDS: Final[Mapping[Fault, str]] = MappingProxyType(
    {
        Fault.NO_PRODUCT: "no product is enrolled and live",
        Fault.CANARY: "the scoring path does not reproduce what it did at enrolment",
        Fault.JOURNAL_FULL: "the journal has no room: its disk is full, or the database has been away for too long",
        Fault.CAMERA_LINK: "a camera of this gate is not connected",
        Fault.HELD: "the gate is held",
        Fault.BACKLOG: "frames wait in the broker, or the age of a frame can't be proved",
        Fault.LATE: "frames were decided too late",
        Fault.STOPPING: "its agent is stopping",
        Fault.OWNED_BY_OTHER: "by the database another agent owns this gate, which can't be heard at this broker",
        Fault.OWNER_UNKNOWN: "it is not known which agent owns it",
        Fault.UNTOLD: "decisions did not get to the broker in time",
    }
)
