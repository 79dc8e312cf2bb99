"""People who use the console: their roles, and one session of a browser."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime


class Role(enum.StrEnum):
    """What a person may do. Each role may do all that the ones before it may.

    A viewer looks. An operator also reviews parts. An engineer also changes what judges, and who may do what.
    """

    VIEWER = "viewer"
    OPERATOR = "operator"
    ENGINEER = "engineer"

    def covers(self, needed: Role) -> bool:
        """Whether this role may do what `needed` may."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may sign in, unless `is_locked`."""

    name: str
    role: Role
    created_at: datetime
    changed_at: datetime
    is_locked: bool = False


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """A signed-in browser. `csrf` stands in every form that changes something."""

    person: Person
    csrf: str
    expires_at: datetime
