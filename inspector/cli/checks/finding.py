"""The result of a check.

A fault keeps the agent from working, or lets a stranger take its place. A warning does neither.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Level(enum.StrEnum):
    """How severe a finding is."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result. `part`: the branch of the tree. The `detail` of a warning or a fault ends with what to do."""

    part: str
    subject: str
    level: Level
    detail: str

    @property
    def is_ok(self) -> bool:
        """True for a warning as well."""
        return self.level is not Level.FAULT


def ok(part: str, subject: str, detail: str) -> Finding:
    return Finding(part, subject, Level.OK, detail)


def warning(part: str, subject: str, detail: str) -> Finding:
    return Finding(part, subject, Level.WARNING, detail)


def fault(part: str, subject: str, detail: str) -> Finding:
    return Finding(part, subject, Level.FAULT, detail)
