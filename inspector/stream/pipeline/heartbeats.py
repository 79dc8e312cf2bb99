"""Sends the heartbeat of each gate: whether its decisions can be trusted now, its mode and its epoch.

A heartbeat with a new epoch reaches the gate before the first decision of that epoch. The last heartbeat of an agent
reports that the gate is not ready.
"""

from __future__ import annotations

from collections.abc import Callable

from inspector.domain import GateMode
from inspector.ports import GateLine
from inspector.stream.gate_fault import Fault
from inspector.stream.pipeline.owning import Owning
from inspector.stream.pipeline.readiness import Readiness
from inspector.stream.pipeline.ticket import Shared

MODE_NUMBERS: dict[GateMode, int] = {
    GateMode.AUTO: 1,
    GateMode.BYPASS: 2,
    GateMode.SETUP: 3,
    GateMode.CLEAN: 4,
    GateMode.GOLDEN: 5,
}


class Heartbeats:
    """Sends the heartbeats of the gates that this agent has. `fault` names why a gate is not ready."""

    def __init__(
        self, shared: Shared, gate_line: GateLine | None, owning: Owning, fault: Callable[[str], Fault]
    ) -> None:
        self._shared = shared
        self._gate_line = gate_line
        self._owning = owning
        self._fault = fault
        self._readiness = Readiness(shared)
        self._number = 0
        self._epochs: dict[str, int] = {}
        self._is_stopping = False

    async def run(self) -> None:
        """Send one heartbeat to each gate every `heartbeat_ms`, with a rising number."""
        while self._gate_line is not None:
            await self._send_all()
            await self._shared.clock.sleep(self._shared.config.agent.heartbeat_ms / 1000)

    async def stop(self) -> None:
        """Report all gates as not ready, now and until the end, because no further frame is taken."""
        self._is_stopping = True
        await self._send_all()

    async def ensure_epoch(self, gate: str, epoch: int) -> None:
        """Tell the gate this epoch, unless its last heartbeat has it, or a later one."""
        if not self.has_told(gate, epoch):
            await self.send(gate)

    def has_told(self, gate: str, epoch: int) -> bool:
        """Whether a heartbeat with this epoch, or a later one, was sent: a PLC drops decisions of another epoch."""
        return self._epochs.get(gate, -1) >= epoch

    async def send(self, gate: str) -> None:
        """Send this gate's heartbeat now, if this agent has the gate."""
        if any(section.name == gate for section in self._owning.served()):
            await self._send(gate)

    async def _send_all(self) -> None:
        for section in self._owning.served():
            await self._send(section.name)

    async def _send(self, gate: str) -> None:
        if self._gate_line is None or self._owning.is_silent(gate):
            self._readiness.forget(gate)
            return
        self._number = (self._number + 1) % 2**32
        state = self._shared.admission.counter(gate).state
        fault = Fault.STOPPING if self._is_stopping else self._fault(gate)
        self._readiness.note(gate, fault)
        is_sent = await self._gate_line.heartbeat(
            gate,
            {
                "v": 1,
                "ready": int(fault is Fault.NONE),
                "fault": int(fault),
                "hb": self._number,
                "mode": MODE_NUMBERS[state.mode_at(self._shared.clock.now())],
                "ep": state.epoch,
            },
        )
        if is_sent:
            self._epochs[gate] = state.epoch
