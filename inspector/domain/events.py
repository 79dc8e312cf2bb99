"""Events: facts besides verdicts that a person may have to know."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime


class Severity(enum.StrEnum):
    """How urgent an event is."""

    INFO = "info"
    WARNING = "warning"
    ALARM = "alarm"


@dataclass(frozen=True, slots=True)
class Event:
    """A fact that a person may have to know. `subject` names the thing concerned: a camera, a gate, the ledger."""

    at: datetime
    kind: str
    severity: Severity
    subject: str
    detail: str
