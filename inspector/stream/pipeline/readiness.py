"""Tells when a gate is not ready for as long as its PLC waits for a heartbeat, and when it is ready again.

Meanwhile the gate's default applies to every part. The heartbeat says so to the PLC alone; an event keeps for people
when it was, for how long, and why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from inspector.domain import Severity
from inspector.stream.gate_fault import WORDS, Fault
from inspector.stream.pipeline.ticket import Shared

PATIENCE_NS: Final = 1_500_000_000
"""A PLC takes an agent whose heartbeat has not changed for this long as not ready. What is shorter is no outage."""

PAUSE_NS: Final = 60_000_000_000
"""Least time between two such events of a gate, so that one that comes and goes does not fill the table.

Outages that begin meanwhile are told together behind it, at the latest when the agent stops.
"""

STOOD_STILL: Final = "no heartbeat was sent, because this agent or its machine stood still"


@dataclass(slots=True)
class _Outage:
    """`told`: the fault of its last event, None before the first one. `untold`: one that had no event yet."""

    since_ns: int
    told: Fault | None = None
    untold: Fault | None = None


@dataclass(slots=True)
class _Untold:
    """Outages that ended before their event might be told."""

    count: int = 0
    lasted_ns: int = 0
    reasons: dict[str, None] = field(default_factory=dict)


class Readiness:
    """Is given the fault of each gate with each heartbeat."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._outages: dict[str, _Outage] = {}
        self._told_ns: dict[str, int] = {}
        self._untold: dict[str, _Untold] = {}
        self._noted_ns: dict[str, int] = {}

    def note(self, gate: str, fault: Fault) -> None:
        """Take the fault that the gate's heartbeat says now. An agent that stops has its own last words."""
        now_ns = self._shared.clock.monotonic_ns()
        noted_ns, self._noted_ns[gate] = self._noted_ns.get(gate, now_ns), now_ns
        if fault is Fault.STOPPING:
            self._tell_untold(gate, now_ns, is_last=True)
            return
        if now_ns - noted_ns >= PATIENCE_NS and gate not in self._outages:
            self._keep(gate, now_ns - noted_ns, STOOD_STILL)
        if fault is Fault.NONE:
            self._end(gate, now_ns)
        else:
            self._go_on(gate, fault, now_ns)
        self._tell_untold(gate, now_ns)

    def _end(self, gate: str, now_ns: int) -> None:
        ended = self._outages.pop(gate, None)
        if ended is None:
            return
        lasted_ns = now_ns - ended.since_ns
        if ended.told is not None:
            self._shared.event("gate_ready", Severity.INFO, gate, f"ready again, after {lasted_ns / 1e9:.1f} s")
        elif ended.untold is not None:
            self._keep(gate, lasted_ns, f"fault {ended.untold}: {WORDS[ended.untold]}")

    def _keep(self, gate: str, lasted_ns: int, reason: str) -> None:
        untold = self._untold.setdefault(gate, _Untold())
        untold.count += 1
        untold.lasted_ns += lasted_ns
        untold.reasons[reason] = None

    def _go_on(self, gate: str, fault: Fault, now_ns: int) -> None:
        outage = self._outages.setdefault(gate, _Outage(now_ns))
        if now_ns - outage.since_ns < PATIENCE_NS or fault is outage.told:
            return
        if not self._may_tell(gate, now_ns):
            outage.untold = fault
            return
        self._tell_untold(gate, now_ns)
        outage.told, self._told_ns[gate] = fault, now_ns
        self._tell(gate, f"not ready, fault {fault}: {WORDS[fault]}; the gate's default applies to every part")

    def _tell_untold(self, gate: str, now_ns: int, *, is_last: bool = False) -> None:
        untold = self._untold.get(gate)
        if untold is None or not (is_last or self._may_tell(gate, now_ns)):
            return
        del self._untold[gate]
        self._told_ns[gate] = now_ns
        times = "once" if untold.count == 1 else f"{untold.count} times"
        took = f"{untold.lasted_ns / 1e9:.1f} s in all"
        self._tell(gate, f"was not ready {times} meanwhile, for {took}: {'; '.join(untold.reasons)}")

    def _may_tell(self, gate: str, now_ns: int) -> bool:
        told_ns = self._told_ns.get(gate)
        return told_ns is None or now_ns - told_ns >= PAUSE_NS

    def _tell(self, gate: str, detail: str) -> None:
        self._shared.event("gate_not_ready", Severity.WARNING, gate, detail)

    def forget(self, gate: str) -> None:
        """Forget an outage of a gate about which this agent says nothing now, because another one may have it."""
        self._outages.pop(gate, None)
        self._noted_ns.pop(gate, None)
