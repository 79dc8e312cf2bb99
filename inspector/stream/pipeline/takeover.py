"""Loads a gate's state and frames that another agent may have recorded, before the first frame is admitted.

A consumer group moves streams between agents. Each assignment is a new generation of the stream's
positions. Once for each assignment, the gate's state and the latest frames of its cameras are loaded from
the ledger.
"""

from __future__ import annotations

from inspector.domain import Position
from inspector.errors import LedgerUnavailable
from inspector.ports import Ledger
from inspector.stream.pipeline.ticket import Shared

TOLD_PARTS = 512
"""Parts of a gate whose decisions are loaded, so that none is told again, or better, than it was by another run."""

TAKEOVER_SIGHTINGS = 512
"""Frames loaded per camera: more than an agent has under way. The ledger's unique key refuses older frames."""

RETRY_S = 1.0


class Takeover:
    """Loads each gate (or camera without a gate) once per assignment."""

    def __init__(self, shared: Shared, ledger: Ledger) -> None:
        self._shared = shared
        self._ledger = ledger
        self._loaded: dict[str, dict[str, int]] = {}

    async def ensure_loaded(self, camera: str, position: Position) -> None:
        """Load the state at the first delivery of an assignment. Waits while the ledger is unavailable.

        Only the ledger has the current epoch, and a frame admitted in a wrong epoch would get a second row.
        """
        owner = self._shared.owner_of(camera)
        loaded = self._loaded.setdefault(owner, {})
        while loaded.get(position.stream) != position.generation:
            try:
                await self._load(owner)
            except LedgerUnavailable:
                await self._shared.clock.sleep(RETRY_S)
            else:
                loaded[position.stream] = position.generation

    async def _load(self, owner: str) -> None:
        cameras = [camera for camera in self._shared.config.camera if self._shared.owner_of(camera.name) == owner]
        states = await self._ledger.load_gates([owner])
        sightings = {
            camera.name: await self._ledger.sightings(camera.name, min(camera.frame_id_memory, TAKEOVER_SIGHTINGS))
            for camera in cameras
        }
        if (gate := self._shared.gates.get(owner)) is not None:
            gate.remember(await self._ledger.told_parts(owner, TOLD_PARTS))
        self._shared.admission.take_over(owner, states.get(owner), sightings)
        self._shared.has_gap.set()  # the other agent may have left skipped parts
