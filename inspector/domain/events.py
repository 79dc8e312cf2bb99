"""Events: whatever a person may have to know besides verdicts."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime


class Severity(enum.StrEnum):
    """How loud an event is."""

    INFO = "info"
    WARNING = "warning"
    ALARM = "alarm"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a person may have to know. `subject` is what it is about: a camera, a gate, the ledger."""

    at: datetime
    kind: str
    severity: Severity
    subject: str
    detail: str
