"""Watches whether live frames of each gate would be young enough to be decided.

A single slow marker says nothing about the frames that come after it, and a heartbeat that is not ready costs every
part until the next one. So a gate stays live for `GRACE_S` after it was last seen to be. A frame that is too old is
late in any case, whatever the heartbeat says.
"""

from __future__ import annotations

from typing import Final

from inspector.config.line_sections import GateSection
from inspector.stream.pipeline.ticket import Shared

LOOK_S: Final = 0.05
GRACE_S: Final = 0.25


class Liveness:
    """Looks at each gate of this agent every `LOOK_S`, and whenever it is asked."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._seen_live_ns: dict[str, int] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            for gate in self._shared.config.gate:
                if self._shared.has_gate(gate.name):
                    self.is_live(gate)
            await self._shared.clock.sleep(LOOK_S)

    def is_live(self, gate: GateSection) -> bool:
        """Whether a frame that comes now would be young enough to be decided, if no other frame waits before it.

        The answer is no at once where no age can be proved, as after a new connection.
        """
        now_ns = self._shared.clock.monotonic_ns()
        ages_ns = [self._shared.sources[camera].age_bound_ns(camera) for camera in gate.cameras]
        known_ns = [age_ns for age_ns in ages_ns if age_ns is not None]
        if len(known_ns) < len(ages_ns):
            self._seen_live_ns.pop(gate.name, None)
            return False
        if max(known_ns) / 1e6 < gate.judging_ms:
            self._seen_live_ns[gate.name] = now_ns
            return True
        seen_ns = self._seen_live_ns.get(gate.name)
        return seen_ns is not None and now_ns - seen_ns < GRACE_S * 1e9
