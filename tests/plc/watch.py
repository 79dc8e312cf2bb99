"""The heartbeat watch of `docs/gate.md`: not ready without a changed `hb` for 1.5 s, or while `ready` is 0.

Pure: times are seconds passed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.plc.wire import Heartbeat

SILENCE_S: Final = 1.5
NO_HEARTBEAT: Final = "no heartbeat"


@dataclass(frozen=True, slots=True)
class ReadyEdge:
    """The agent was ready, or was not, from this moment on."""

    at_s: float
    is_ready: bool
    why: str


class HeartbeatWatch:
    """What the last heartbeat said, and whether it still counts."""

    def __init__(self) -> None:
        self._last: Heartbeat | None = None
        self._changed_s = float("-inf")
        self.edges: list[ReadyEdge] = []
        self.epochs: list[tuple[float, int]] = []

    @property
    def epoch(self) -> int:
        """That of the last heartbeat; 0 before the first."""
        return 0 if self._last is None else self._last.epoch

    @property
    def changed_s(self) -> float:
        """When the last heartbeat with another count came; minus infinity before the first."""
        return self._changed_s

    def beat(self, heartbeat: Heartbeat, now_s: float) -> None:
        self.look(now_s)  # an end of the silence before this beat must not go unseen
        if self._last is None or heartbeat.count != self._last.count:
            self._changed_s = now_s
        if heartbeat.epoch != self.epoch:
            self.epochs.append((now_s, heartbeat.epoch))
        self._last = heartbeat
        self.look(now_s)

    def look(self, now_s: float) -> bool:
        """Whether the agent is ready now; a change is noted."""
        why = self._fault(now_s)
        if not self.edges or self.edges[-1].is_ready != (why is None):
            began_s = min(now_s, self._changed_s + SILENCE_S) if why == NO_HEARTBEAT and self.edges else now_s
            self.edges.append(ReadyEdge(began_s, why is None, why or "ready"))
        return why is None

    def _fault(self, now_s: float) -> str | None:
        if self._last is None or now_s - self._changed_s >= SILENCE_S:
            return NO_HEARTBEAT
        return None if self._last.is_ready else f"ready 0, fault {self._last.fault}"
