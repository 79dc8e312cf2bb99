"""What a further report of a PLC changes in the stored row of its part. Pure.

The first report of a part is its row. The same report again is counted. A report that says something else
contradicts the first one; each different one is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from inspector.domain import AckContradiction, GateAction
from inspector.stream.verdict_record import format_time

Part = tuple[str, int, int, int]
"""Gate, epoch, lap, trigger."""


def part_of(action: GateAction) -> Part:
    """The part that the report names."""
    return action.gate, action.epoch, action.lap, action.trigger_id


@dataclass(frozen=True, slots=True)
class AckRow:
    """The stored row of a part: its first report, the number of repetitions, and the reports that contradict it.

    `report_id`: the last report of the row's agent that was counted.
    """

    first: GateAction
    report_id: str
    repeats: int = 0
    others: tuple[dict[str, Any], ...] = field(default=())

    @classmethod
    def of(cls, action: GateAction) -> AckRow:
        return cls(action, action.report_id)


def merge(row: AckRow, report: GateAction) -> tuple[AckRow, AckContradiction | None]:
    """The row after one more report of its part, and the contradiction if the report is the first to say so.

    A report counts as a repetition only for the agent that stored the row: other agents receive the same reports. A
    report that the broker has delivered again, or that was counted before a restart, is not counted.
    """
    others = [(other["act"], other["src"], other["done"]) for other in row.others]
    if report.done_as != row.first.done_as and report.done_as not in others:
        other = {
            "act": report.action,
            "src": report.source,
            "done": report.done,
            "at": format_time(report.received_at),
            "agent": report.agent,
        }
        changed = replace(row, others=(*row.others, other))
        return _counted(changed, report, 0), AckContradiction(report, row.first.done_as)
    if report.is_redelivered or report.agent != row.first.agent or report.report_id <= row.report_id:
        return row, None
    return _counted(row, report, 1), None


def _counted(row: AckRow, report: GateAction, repeats: int) -> AckRow:
    is_own = report.agent == row.first.agent
    report_id = max(row.report_id, report.report_id) if is_own else row.report_id
    return replace(row, repeats=row.repeats + repeats, report_id=report_id)
