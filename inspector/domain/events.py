"""What a person may have to know that is not a verdict."""

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
    """Something a person may have to know that is not a verdict."""

    at: datetime
    kind: str
    severity: Severity
    subject: str
    detail: str
