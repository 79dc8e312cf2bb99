"""Events that may come for every part, told at a bounded rate: how many were left out is in the next one.

The first event of a kind at a gate is told at once. While more of them come, they are told together, after pauses that
grow from a minute to an hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from inspector.domain import Severity
from inspector.stream.pipeline.ticket import Shared

FIRST_PAUSE_S: Final = 60.0
LONGEST_PAUSE_S: Final = 3600.0


@dataclass(slots=True)
class _Kind:
    told_ns: int
    pause_s: float = FIRST_PAUSE_S
    left_out: int = 0


class Alarms:
    """Tells each kind of event at most once in a while for each subject."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def tell(self, kind: str, severity: Severity, subject: str, detail: str, count: int = 1) -> None:
        """Tell the event, or count it for the next one of its kind. `count`: how many cases it stands for."""
        now_ns = self._shared.clock.monotonic_ns()
        known = self._kinds.get((kind, subject))
        if known is not None and now_ns - known.told_ns < known.pause_s * 1e9:
            known.left_out += count
            return
        if known is not None and known.left_out:
            detail += f"; {known.left_out} more since the last such event"
        is_calm = known is None or now_ns - known.told_ns >= 2 * known.pause_s * 1e9
        pause_s = FIRST_PAUSE_S if is_calm or known is None else min(2 * known.pause_s, LONGEST_PAUSE_S)
        self._kinds[kind, subject] = _Kind(now_ns, pause_s)
        self._shared.event(kind, severity, subject, detail)
