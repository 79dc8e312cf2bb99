"""Tells when a gate is not ready for as long as its PLC waits for a heartbeat, and when it is ready again.

Meanwhile the gate's default applies to every part. The heartbeat says so to the PLC alone; an event keeps for people
when it was, for how long, and why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from inspector.domain import Severity
from inspector.stream.gate_fault import WORDS, Fault
from inspector.stream.pipeline.ticket import Shared

PATIENCE_NS: Final = 1_500_000_000
"""A PLC takes an agent whose heartbeat has not changed for this long as not ready. What is shorter is no outage."""

PAUSE_NS: Final = 60_000_000_000
"""Least time between two such events of a gate, so that one that comes and goes does not fill the table."""


@dataclass(slots=True)
class _Outage:
    """`told`: the fault of its last event, None before the first one."""

    since_ns: int
    told: Fault | None = None


class Readiness:
    """Is given the fault of each gate with each heartbeat."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._outages: dict[str, _Outage] = {}
        self._told_ns: dict[str, int] = {}

    def note(self, gate: str, fault: Fault) -> None:
        """Take the fault that the gate's heartbeat says now. An agent that stops has its own last words."""
        now_ns = self._shared.clock.monotonic_ns()
        if fault is Fault.STOPPING:
            return
        if fault is Fault.NONE:
            ended = self._outages.pop(gate, None)
            if ended is not None and ended.told is not None:
                lasted_s = (now_ns - ended.since_ns) / 1e9
                self._shared.event("gate_ready", Severity.INFO, gate, f"ready again, after {lasted_s:.1f} s")
            return
        outage = self._outages.setdefault(gate, _Outage(now_ns))
        if now_ns - outage.since_ns < PATIENCE_NS or fault is outage.told:
            return
        told_ns = self._told_ns.get(gate)
        if told_ns is not None and now_ns - told_ns < PAUSE_NS:
            return
        outage.told, self._told_ns[gate] = fault, now_ns
        detail = f"not ready, fault {fault}: {WORDS[fault]}; the gate's default applies to every part"
        self._shared.event("gate_not_ready", Severity.WARNING, gate, detail)

    def forget(self, gate: str) -> None:
        """Forget an outage of a gate about which this agent says nothing now, because another one may have it."""
        self._outages.pop(gate, None)
