"""Reports of a PLC on what it did with each part: the acknowledgements of a gate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from inspector.domain.frames import Position, ResultId
from inspector.domain.gates import GateMode


@dataclass(frozen=True, slots=True)
class GateAction:
    """The PLC's report on what it did with one part (an acknowledgement). Only these reports count all parts.

    `source`: 1 decision, 2 time-out default, 3 bypass, 4 manual. `done`: 1 = seen by the reject sensor. The other
    fields are worked out at receipt. `report_id` sorts in the order of receipt at one `agent`; each delivery has its
    own. `in_flight`: the report names no part (trigger 0 at a gate for one part at a time). Such a report is about the
    part of `result_id`, the last frame that came before it (None: no frame has come since the last report).
    """

    gate: str
    epoch: int
    trigger_id: int
    action: int
    source: int
    done: int
    received_at: datetime
    lap: int = 0
    report_id: str = ""
    agent: str = ""
    is_redelivered: bool = False
    packet_id: int = 0
    in_flight: bool = False
    result_id: ResultId | None = None
    mode: GateMode = GateMode.AUTO
    lot: str | None = None
    job_id: str | None = None

    @property
    def done_as(self) -> tuple[int, int, int]:
        """What was done, why, and whether the sensor saw it. Two reports of a part that differ in it contradict."""
        return self.action, self.source, self.done


@dataclass(frozen=True, slots=True)
class GateReport:
    """A report as its connection delivered it. Its position is acknowledged when the report is durable."""

    position: Position
    action: GateAction


@dataclass(frozen=True, slots=True)
class AckContradiction:
    """A report that says something else than an earlier report `first` of the same part. Both are kept."""

    report: GateAction
    first: tuple[int, int, int]
