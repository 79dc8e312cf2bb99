"""Looks at the whole agent at one moment, for figures: what is live, and what each camera and gate stands at.

It is taken on the event loop, changes nothing and waits for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from inspector.config.line_sections import CameraSection, GateSection
from inspector.domain import FrameFault, GateMode, ProductVersion
from inspector.stream.gate_fault import Fault
from inspector.stream.pipeline.owning import Owning
from inspector.stream.pipeline.ticket import Shared
from inspector.stream.pipeline.upkeep import LineupWatch, Upkeep

UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class CameraSnapshot:
    """A camera whose frames come to this agent. `age_bound_s`: of a frame that comes now; None: nothing is proved.

    `rhythm`: `usual`, `silent` or `rate_off`.
    """

    name: str
    is_connected: bool
    rhythm: str
    frame_fault: FrameFault | None
    is_clock_off: bool
    age_bound_s: float | None


@dataclass(frozen=True, slots=True)
class GateSnapshot:
    """A gate that this agent serves. `challenge`: `none`, `due` or `under_way`.

    `held_for`: a value of `HeldFor`, or `unknown` for a hold of an earlier version; None: the gate is not held.
    """

    name: str
    fault: Fault
    is_owned: bool
    mode: GateMode
    held_for: str | None
    challenge: str
    window_s: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The agent at one moment. `live` and `shadows`: the versions that are loaded."""

    fault: Fault
    is_taking_frames: bool
    is_database_up: bool
    frames_decoding: int
    live: tuple[ProductVersion, ...]
    shadows: tuple[ProductVersion, ...]
    cameras: tuple[CameraSnapshot, ...]
    gates: tuple[GateSnapshot, ...]


class Snapshots:
    """Takes snapshots of one agent."""

    def __init__(self, shared: Shared, lineups: LineupWatch, upkeep: Upkeep, owning: Owning) -> None:
        self._shared = shared
        self._lineups = lineups
        self._upkeep = upkeep
        self._owning = owning

    def take(self, *, is_taking_frames: bool) -> Snapshot:
        """The agent as it is now."""
        shared = self._shared
        return Snapshot(
            fault=self._upkeep.fault(),
            is_taking_frames=is_taking_frames,
            is_database_up=not shared.ledger_is_away,
            frames_decoding=shared.decoding,
            live=self._lineups.live,
            shadows=self._lineups.shadows,
            cameras=tuple(self._camera(camera) for camera in shared.config.camera if shared.serves(camera.name)),
            gates=tuple(self._gate(gate) for gate in self._owning.served()),
        )

    def _camera(self, camera: CameraSection) -> CameraSnapshot:
        shared, name = self._shared, camera.name
        age_ns = shared.sources[name].age_bound_ns(name) if shared.gate_of(name) is not None else None
        return CameraSnapshot(
            name=name,
            is_connected=shared.sources[name].is_connected,
            rhythm=shared.rhythms[name].state,
            frame_fault=shared.frame_faults.current(name),
            is_clock_off=shared.admission.is_clock_off(name),
            age_bound_s=None if age_ns is None else age_ns / 1e9,
        )

    def _gate(self, gate: GateSection) -> GateSnapshot:
        state = self._shared.admission.counter(gate.name).state
        golden = state.golden
        challenge = "under_way" if golden.challenge is not None else "due" if golden.due_at is not None else "none"
        held_for = state.held_for.value if state.held_for is not None else UNKNOWN
        return GateSnapshot(
            name=gate.name,
            fault=self._upkeep.fault(gate.name),
            is_owned=self._owning.owns(gate.name),
            mode=state.mode_at(self._shared.clock.now()),
            held_for=held_for if state.held else None,
            challenge=challenge,
            window_s=gate.window_ms / 1e3,
        )
