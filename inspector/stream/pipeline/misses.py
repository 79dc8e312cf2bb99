"""Settles the parts that were skipped and whose frames did not come within the grace of their gate.

A part counts as missed when no frame of it can come any more within its grace. The source's proof of age decides this,
and not the time of receipt alone: a frame that waits in a stopped broker or a stopped agent was not missed. A camera
that has just connected again delivers what it kept, in any order, so the parts of its gate wait a little longer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from inspector.config.line_sections import GateSection
from inspector.domain import Correction, Delivery, Severity
from inspector.stream.admission import MissedPart
from inspector.stream.digest import Digest, ranges_text
from inspector.stream.gaps import OpenGaps
from inspector.stream.pipeline.owning import Owning
from inspector.stream.pipeline.ticket import Shared
from inspector.stream.wording import counted

LOOK_S: Final = 0.02
"""Time between two looks while skipped parts wait."""

CATCH_UP_NS: Final = 2_000_000_000
"""A camera may need this long after a new connection to deliver what it kept."""

ALARM_EVERY_NS: Final = 10_000_000_000

STOP_PATIENCE_NS: Final = 2_000_000_000
"""Longest wait for skipped parts at a stop. Parts that still wait then are stored, and the next run settles them."""


class Misses:
    """One task settles the missed parts of all gates, and raises one alarm for many of them."""

    def __init__(self, shared: Shared, settle: Callable[[MissedPart], None], owning: Owning) -> None:
        self._shared = shared
        self._owning = owning
        self._settle = settle
        self._generations: dict[str, int] = {}
        self._catching_up_until_ns: dict[str, int] = {}
        self._missed: Digest[MissedPart] = Digest(ALARM_EVERY_NS)
        self._corrected: Digest[Correction] = Digest(ALARM_EVERY_NS)

    def note_connection(self, delivery: Delivery) -> None:
        """Note the connection that a delivery came with; call for each delivery before it is admitted."""
        camera, generation = delivery.camera, delivery.position.generation
        known = self._generations.get(camera, generation)
        self._generations[camera] = generation
        if known != generation:
            self._catching_up_until_ns[camera] = self._shared.clock.monotonic_ns() + CATCH_UP_NS

    async def run(self) -> None:
        """Settle missed parts until cancelled."""
        while True:
            self._look()
            has_news = self._missed.is_waiting or self._corrected.is_waiting
            is_idle = not (has_news or any(map(self._waits, self._shared.config.gate)))
            await self._shared.has_gap.wait(None if is_idle else LOOK_S)

    async def finish(self) -> None:
        """Wait, while frames still come, until the parts that wait now are settled; then raise the last alarms."""
        clock = self._shared.clock
        gates = [gate for gate in self._shared.config.gate if self._serves(gate)]
        waiting = {gate.name: set(self._gaps_of(gate).waiting()) for gate in gates}
        end_ns = clock.monotonic_ns() + min(STOP_PATIENCE_NS, int(self._shared.config.agent.drain_s / 2 * 1e9))
        while any(waiting[gate.name] & set(self._gaps_of(gate).waiting()) for gate in gates):
            if clock.monotonic_ns() >= end_ns:
                break
            await clock.sleep(LOOK_S)
        self.tell_last()

    def tell_last(self) -> None:
        """Raise the alarms and events that wait for their interval."""
        self._look(is_last=True)

    def _look(self, *, is_last: bool = False) -> None:
        now_ns = self._shared.clock.monotonic_ns()
        for gate in self._shared.config.gate:
            if self._waits(gate) and self._owning.is_epoch_anothers(gate.name):
                self._gaps_of(gate).forget(self._shared.admission.counter(gate.name).state.epoch)
            if self._waits(gate):
                self._settle_due(gate, now_ns)
        self._take_corrections()
        for name, missed in self._missed.take(now_ns, is_last=is_last):
            self._shared.event("uninspected", Severity.ALARM, name, _missed_text(missed))
        for name, corrected in self._corrected.take(now_ns, is_last=is_last):
            self._shared.event("miss_corrected", Severity.WARNING, name, _corrected_text(corrected))

    def _take_corrections(self) -> None:
        corrections, self._shared.corrections = self._shared.corrections, []
        for correction in corrections:
            self._corrected.add(correction.gate, [correction])
            text = _corrected_text(self._corrected.waiting(correction.gate))
            self._shared.event_waits("miss_corrected", Severity.WARNING, correction.gate, text)
            self._missed.discard(correction.gate, partial(_is_part_of, correction))
            self._shared.telemetry.count("misses_corrected", gate=correction.gate)

    def _settle_due(self, gate: GateSection, now_ns: int) -> None:
        # All cameras are asked, because each of them notes here whether it is connected.
        is_settled = not [camera for camera in gate.cameras if self._is_catching_up(camera, now_ns)]
        ages_ns = [self._shared.sources[camera].age_bound_ns(camera) for camera in gate.cameras]
        known_ns = [age_ns for age_ns in ages_ns if age_ns is not None]
        proven_ns = now_ns - max(known_ns) if len(known_ns) == len(ages_ns) else None
        missed = self._shared.admission.take_missed(gate, now_ns, proven_ns, is_settled=is_settled)
        for part in missed:
            self._settle(part)
        if missed:
            self._missed.add(gate.name, missed)
            text = _missed_text(self._missed.waiting(gate.name))
            self._shared.event_waits("uninspected", Severity.ALARM, gate.name, text)

    def _is_catching_up(self, camera: str, now_ns: int) -> bool:
        if not self._shared.sources[camera].is_connected:
            self._catching_up_until_ns[camera] = now_ns + CATCH_UP_NS
        return now_ns < self._catching_up_until_ns.get(camera, now_ns)

    def _waits(self, gate: GateSection) -> bool:
        return self._serves(gate) and self._gaps_of(gate).is_waiting

    def _serves(self, gate: GateSection) -> bool:
        return self._shared.has_gate(gate.name)

    def _gaps_of(self, gate: GateSection) -> OpenGaps:
        return self._shared.admission.counter(gate.name).gaps


def _missed_text(missed: Sequence[MissedPart]) -> str:
    triggers = ranges_text([part.trigger_id for part in missed])
    said = (
        f"no frame came for {counted(len(missed), 'part')}: trigger ids {triggers}; the gate was told nothing of "
        "them, so the PLC's own default decides. Look at the camera, its trigger and its network; see: inspector "
        "results list --outcome uninspected"
    )
    if missed[0].is_counted_by_camera:
        said += "; the camera counts by itself, so only what was lost after it is known"
    return said


def _corrected_text(corrected: Sequence[Correction]) -> str:
    triggers = ranges_text([correction.trigger_id for correction in corrected])
    return (
        f"the frames of {counted(len(corrected), 'part')} that counted as missed came after all: trigger ids "
        f"{triggers}; if this comes often, frames are out of order for longer than miss_grace_ms"
    )


def _is_part_of(correction: Correction, missed: MissedPart) -> bool:
    return (missed.epoch, missed.trigger_id) == (correction.epoch, correction.trigger_id)
