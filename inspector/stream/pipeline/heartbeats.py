"""Sends the heartbeat of each gate: whether its decisions can be trusted now, its mode and its epoch.

A heartbeat with a new epoch reaches the gate before the first decision of that epoch. The last heartbeat of an agent
reports that the gate is not ready.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

from inspector.config.sections import GateSection
from inspector.domain import GateMode
from inspector.ports import GateLine
from inspector.stream.pipeline.ticket import Shared

MODE_NUMBERS: dict[GateMode, int] = {
    GateMode.AUTO: 1,
    GateMode.BYPASS: 2,
    GateMode.SETUP: 3,
    GateMode.CLEAN: 4,
    GateMode.GOLDEN: 5,
}


class Fault(enum.IntEnum):
    """The heartbeat's `fault`; append-only."""

    NONE = 0
    NO_PRODUCT = 1
    CANARY = 2
    JOURNAL_FULL = 3
    CAMERA_LINK = 4
    HELD = 5
    BACKLOG = 6
    LATE = 7
    STOPPING = 8


class Heartbeats:
    """Sends the heartbeats of the gates that this agent has. `fault` names why a gate is not ready."""

    def __init__(self, shared: Shared, gate_line: GateLine | None, fault: Callable[[str], Fault]) -> None:
        self._shared = shared
        self._gate_line = gate_line
        self._fault = fault
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
        """Returns when the gate's last heartbeat carries this epoch, or a later one."""
        if self._epochs.get(gate, -1) < epoch:
            for section in self._served():
                if section.name == gate:
                    await self._send(section)

    async def _send_all(self) -> None:
        for section in self._served():
            await self._send(section)

    def _served(self) -> list[GateSection]:
        """The gates that this agent has now. The other agents of the group send the heartbeats of their own gates."""
        gates = self._shared.config.gate
        return [gate for gate in gates if any(self._shared.serves(camera) for camera in gate.cameras)]

    async def _send(self, section: GateSection) -> None:
        if self._gate_line is None:
            return
        self._number = (self._number + 1) % 2**32
        state = self._shared.admission.counter(section.name).state
        fault = Fault.STOPPING if self._is_stopping else self._fault(section.name)
        self._epochs[section.name] = state.epoch
        await self._gate_line.heartbeat(
            section.name,
            {
                "v": 1,
                "ready": int(fault is Fault.NONE),
                "fault": int(fault),
                "hb": self._number,
                "mode": MODE_NUMBERS[state.mode],
                "ep": state.epoch,
            },
        )
