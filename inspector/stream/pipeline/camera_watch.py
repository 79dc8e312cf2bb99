"""Tells of cameras that are silent and of cameras whose rate is off.

Only live frames count: a frame that waited, was simulated or came late says nothing about the camera's rhythm. Parts
that pass while the line is not inspected are no sign that a frame is missing.
"""

from __future__ import annotations

from typing import Final

from inspector.config.line_sections import GateSection
from inspector.domain import Admitted, GateAction, Severity
from inspector.stream.deciding import UNINSPECTING_MODES
from inspector.stream.pipeline.ticket import Shared
from inspector.stream.rhythm import Change, Rhythm, Sign

LOOK_S: Final = 0.5

_EVENTS: Final = {
    Sign.SILENT: ("camera_silent", Severity.ALARM),
    Sign.SILENT_ENDED: ("camera_silent_ended", Severity.INFO),
    Sign.RATE_OFF: ("camera_rate_off", Severity.WARNING),
    Sign.RATE_BACK: ("camera_rate_back", Severity.INFO),
}


class CameraWatch:
    """The rhythm of each camera. One task runs `run`."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        now_ns = shared.clock.monotonic_ns()
        self._rhythms = shared.rhythms
        for camera in shared.config.camera:
            self._rhythms[camera.name] = Rhythm(camera.rate_hz, camera.silent_s, now_ns)

    def note_frame(self, admitted: Admitted) -> None:
        """Note a new frame of a camera."""
        delivery, key = admitted.delivery, admitted.key
        if admitted.simulated:
            return
        is_live = not (admitted.is_late or delivery.backlog or delivery.redelivered)
        gate = self._shared.config.gate_of(delivery.camera)
        if gate is not None and is_live and key.trigger_id is not None:
            self._note_part(gate, (key.epoch, key.lap, key.trigger_id))
        for change in self._rhythms[delivery.camera].note_frame(delivery.received_ns, is_live=is_live):
            self._tell(delivery.camera, change)

    def note_report(self, action: GateAction) -> None:
        """Note the report of a PLC about a part."""
        gate = next(gate for gate in self._shared.config.gate if gate.name == action.gate)
        self._note_part(gate, None if action.in_flight else (action.epoch, action.lap, action.trigger_id))

    async def run(self) -> None:
        """Look for silent cameras until cancelled."""
        while True:
            await self._shared.clock.sleep(LOOK_S)
            now_ns = self._shared.clock.monotonic_ns()
            for camera, rhythm in self._rhythms.items():
                if self._shared.serves(camera) and (change := rhythm.look(now_ns)) is not None:
                    self._tell(camera, change)

    def _note_part(self, gate: GateSection, part: tuple[int, int, int] | None) -> None:
        """Note a part (epoch, lap, trigger) for the cameras that have not come so far. None: it has no number."""
        mode = self._shared.admission.counter(gate.name).state.mode_at(self._shared.clock.now())
        if mode in UNINSPECTING_MODES:
            return
        for camera in gate.cameras:
            if part is None or not self._shared.admission.has_reached(camera, part):
                self._rhythms[camera].note_part()

    def _tell(self, camera: str, change: Change) -> None:
        kind, severity = _EVENTS[change.sign]
        self._shared.event(kind, severity, camera, change.detail)
        self._shared.has_news.set()
