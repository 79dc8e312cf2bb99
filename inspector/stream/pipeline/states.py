"""Reports the state of the agent for dashboards: gauges, retained state topics, and a log line every minute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inspector.ports import Journal, VerdictSink
from inspector.stream.pipeline.owning import Owning
from inspector.stream.pipeline.ticket import Shared
from inspector.stream.pipeline.upkeep import LineupWatch, Upkeep
from inspector.stream.pipeline.writing import Writing

STATE_S = 5.0
REPORT_S = 60.0


class States:
    """Reports the state of the agent, and never changes it."""

    def __init__(
        self,
        shared: Shared,
        lineups: LineupWatch,
        upkeep: Upkeep,
        sink: VerdictSink,
        journal: Journal,
        writing: Writing,
        owning: Owning,
    ) -> None:
        self._shared = shared
        self._owning = owning
        self._lineups = lineups
        self._upkeep = upkeep
        self._sink = sink
        self._journal = journal
        self._writing = writing
        self._is_stopping = False
        self._audit: Mapping[str, Any] | None = None

    async def tell_audit_head(self, head: Mapping[str, Any]) -> None:
        """Publish the head of the audit with the agent's state, from now on."""
        self._audit = head
        await self._tell()

    async def stop(self) -> None:
        """Report the cameras as offline, because none of their frames is taken any more."""
        self._is_stopping = True
        await self._tell_cameras()

    async def run(self) -> None:
        """Publish the retained state of the agent and its cameras, every `STATE_S` and at once after a change."""
        while True:
            await self._tell()
            await self._shared.has_news.wait(STATE_S)

    async def run_reports(self) -> None:
        """Log all gauges on one line, every `REPORT_S`."""
        while True:
            await self._shared.clock.sleep(REPORT_S)
            self._measure()
            self._shared.telemetry.report()

    async def _tell(self) -> None:
        lineup = self._lineups.current
        self._measure()
        state = {
            "state": "online",
            "fault": self._upkeep.fault().name.lower(),
            "products": list(lineup.products) if lineup else [],
            "registry_revision": lineup.revision if lineup else None,
            "in_flight": len(self._shared.in_flight),
            "ledger": "down" if self._shared.ledger_is_away else "up",
            "journal": "ok" if self._shared.journal_has_room else "full",
            "gates": {gate.name: self._gate(gate.name) for gate in self._owning.served()},
            "gauges": self._shared.telemetry.gauges(),
            "audit": self._audit,
        }
        await self._sink.state(f"agent/{self._shared.config.agent.name}/state", state)
        await self._tell_cameras()

    def _gate(self, gate: str) -> dict[str, str | None]:
        """Why the gate is not ready, and the name of the agent that decides about its parts; null: not known."""
        rival, owns = self._owning.rival(gate), self._owning.owns(gate)
        owner = self._shared.config.agent.name if owns else rival.agent if rival else None
        return {"fault": self._upkeep.fault(gate).name.lower(), "owner": owner}

    async def _tell_cameras(self) -> None:
        for camera in self._shared.config.camera:
            if self._shared.serves(camera.name):
                is_up = self._shared.sources[camera.name].is_connected and not self._is_stopping
                fault = self._shared.frame_faults.current(camera.name)
                state = {
                    "state": "online" if is_up else "offline",
                    "frame_health": fault.value if fault else None,
                    "rhythm": self._shared.rhythms[camera.name].state,
                    "clock": "off" if self._shared.admission.is_clock_off(camera.name) else "ok",
                }
                await self._sink.state(f"{camera.name}/health", state)

    def _measure(self) -> None:
        gauge = self._shared.telemetry.gauge
        gauge("frames_in_flight", len(self._shared.in_flight))
        gauge("frames_waiting", len(self._shared.line))
        gauge("frames_bytes", self._shared.frame_room.held_bytes)
        gauge("frames_limit_bytes", self._shared.frame_room.most_bytes)
        gauge("journal_bytes", self._journal.size_bytes)
        gauge("journal_limit_bytes", self._journal.limit_bytes)
        gauge("ledger_away", int(self._shared.ledger_is_away))
        gauge("rows_spooled", self._writing.waiting)
