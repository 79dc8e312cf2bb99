"""Every part of a gate, accounted for: what was seen of it, what the gate was told, and what was done."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from inspector.domain.frames import ResultId
from inspector.domain.gates import Action

WAITED_ELSEWHERE: Final = "waited in the broker while another agent had the gate"
"""The detail of a late frame whose part another agent may have told, before this one took the gate over."""


class PartClass(enum.StrEnum):
    """What became of a part. Each part is in exactly one class. OPEN: too young to say."""

    DONE_AS_TOLD = "done_as_told"
    DONE_OTHERWISE = "done_otherwise"
    DEFAULT_THOUGH_TOLD = "default_though_told"
    PASSED_UNJUDGED = "passed_unjudged"
    PASSED_WITHOUT_FRAME = "passed_without_frame"
    NEVER_ACKNOWLEDGED = "never_acknowledged"
    NEVER_TOLD = "never_told"
    TOLD_ELSEWHERE = "told_elsewhere"
    """Another agent, which has a ledger of its own, owned the gate: what it told of the part is not known here."""

    OPEN = "open"


class Seen(enum.StrEnum):
    """What was seen of a part: no frame, frames without a judgement, or at least one judged frame."""

    NO_FRAME = "no_frame"
    UNJUDGED = "unjudged"
    JUDGED = "judged"


@dataclass(frozen=True, slots=True)
class Ack:
    """What the PLC says that it did with a part: numbers as on the wire. Raises ValueError for an unknown action."""

    action: int
    source: int
    done: int

    def __post_init__(self) -> None:
        if not 0 <= self.action < len(Action):
            raise ValueError(f"there is no action {self.action}")


@dataclass(frozen=True, slots=True)
class PartFacts:
    """All that the class of a part depends on.

    `decided`: the worst action that was decided for the gate (None: nothing was); `is_told`: it was sent in time.
    `is_young`: the last that is known of the part is younger than the gate's `ack_within_s`. `is_inspected`: the line
    was in mode auto. `is_elsewhere`: another agent owned the gate, and has the part in a ledger of its own.
    """

    decided: Action | None
    is_told: bool
    seen: Seen
    ack: Ack | None
    is_young: bool = False
    is_inspected: bool = True
    is_elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a gate. `trigger_id` None: a part of a gate for one part at a time, named by its `result_id`.

    `at`: the first that is known of it, `latest`: the last.
    """

    gate: str
    epoch: int
    lap: int
    trigger_id: int | None
    result_id: ResultId | None
    lot: str | None
    at: datetime
    latest: datetime
    facts: PartFacts


@dataclass(frozen=True, slots=True)
class PartCount:
    """How many parts of a gate have these facts. `hour`: its beginning, UTC, for example 2025-03-01T06."""

    gate: str
    hour: str
    facts: PartFacts
    count: int


@dataclass(frozen=True, slots=True)
class GateTerms:
    """How the parts of a gate are told apart, and how long their acknowledgement may take.

    `is_solo`: one part at a time is under way, and frames need no trigger id. `has_sensor`: a sensor confirms rejects.
    `sends_acks` False: the gate's PLC sends no acknowledgements at all. `elsewhere`: the epochs, first and last of each
    run, in which another agent owned the gate and whose parts no decision of this ledger names.
    """

    name: str
    within_s: float = 10.0
    is_solo: bool = False
    has_sensor: bool = False
    sends_acks: bool = True
    elsewhere: tuple[tuple[int, int], ...] = ()

    def has_elsewhere(self, epoch: int) -> bool:
        """Whether another agent owned the gate in this epoch."""
        return any(first <= epoch <= last for first, last in self.elsewhere)


@dataclass(frozen=True, slots=True)
class PartSelection:
    """Selects parts; None means any. `since` and `until` refer to `at`, `after` and `through` to `latest`.

    `now` says which parts are young. `until` is not included, `through` is.
    """

    now: datetime
    terms: tuple[GateTerms, ...] = ()
    gate: str | None = None
    lot: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: datetime | None = None
    through: datetime | None = None

    def young_since(self, terms: GateTerms) -> datetime:
        """A part of this gate is young if the last that is known of it is later than this."""
        return self.now - timedelta(seconds=terms.within_s)
