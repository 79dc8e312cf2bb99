"""Stored decisions, conflicts and audit entries as plain types. No SQL, since the ledger in memory uses them too."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from inspector.domain import Action, Outcome, ResultId


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """The decision on one part: the worst action of all its decisions, and how many decisions were sent.

    `trigger_id` is None for the one part in flight of a gate without trigger ids.
    """

    gate: str
    epoch: int
    lap: int
    trigger_id: int | None
    action: Action
    result_id: ResultId
    sent: int


@dataclass(frozen=True, slots=True)
class Conflict:
    """A verdict with another outcome than the row that was stored first. The row stays."""

    result_id: ResultId
    stored: Outcome
    refused: Outcome


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who changed what, when and why. `hash` covers the entry and `prev_hash`, so that later changes are detected."""

    seq: int
    at: datetime
    user: str
    object: str
    old: str | None
    new: str | None
    reason: str
    prev_hash: str
    hash: str
