"""Which result row each decision came from.

Pure. With trigger ids, epoch and trigger say so. A decision with trigger 0 names no part, so its row is found by what
the decision says of itself (action, code) and by the moment at which its part was to be at the gate: the wall clock at
its arrival plus `left_ms` is the row's `act_before` plus the time the message was under way.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from tests.plc.gate import Told
from tests.plc.wire import ACTIONS, cause_of

Row = dict[str, Any]

EARLY_S: Final = 0.03
PROMPT_S: Final = 0.1
"""A message that was under way for no longer is told from its neighbours by its time."""

LONGEST_S: Final = 30.0


def match_rows(told: Sequence[Told], rows: Sequence[Row]) -> list[Row | None]:
    """The row of each decision, None where none fits. No row stands for two decisions."""
    free = sorted(
        (row for row in rows if row["act_before"] is not None and row["frame_sha256"] is not None),
        key=lambda row: (row["decided_at"], row["seq"]),
    )
    matched: list[Row | None] = [None] * len(told)
    # First the messages that came at once: what was held up may not take a row from them.
    for longest_s in (PROMPT_S, LONGEST_S):
        for place, message in enumerate(told):
            if matched[place] is not None:
                continue
            row = next((row for row in free if _fits(message, row, longest_s)), None)
            if row is not None:
                matched[place] = row
                free.remove(row)
    return matched


def _fits(message: Told, row: Row, longest_s: float) -> bool:
    decision = message.decision
    if (row["epoch"], row["trigger_id"] or 0) != (decision.epoch, decision.trigger):
        return False
    if (row["action"], row["cause"]) != (ACTIONS[decision.action], cause_of(decision.code)):
        return False
    under_way_s = message.wall_s + decision.left_ms / 1000 - seconds(row["act_before"])
    return -EARLY_S <= under_way_s <= longest_s


def seconds(text: str) -> float:
    """A time of the database in seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()
