"""Turns a delivery into an admitted frame: its ids, time of capture, deadline, and place in the trigger count.

Pure: all times come from the delivery or the caller. Nothing is refused here: a frame with unusable
metadata is admitted with a `fault`, so that it gets its row.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from inspector.config.config import Config
from inspector.config.line_sections import CameraSection, GateSection
from inspector.domain import (
    Admitted,
    Cause,
    Delivery,
    GateMode,
    GateState,
    ResultId,
    Sighting,
    Standing,
    TimeSource,
    Verdict,
)
from inspector.stream.gaps import UNGATED_GRACE, Grace, Part, Progress
from inspector.stream.identity import FrameIds, FrameMemory, Known, New, TriggerCounter
from inspector.stream.overtaking import ReceiptOrder
from inspector.stream.rfc_3339 import parse_rfc_3339
from inspector.stream.timing import FrameTimes, overtaken_times, times_of

LONGEST_ID = 128
SIMULATED = ("true", "1", "yes")
REAL = ("", "false", "0", "no")
LARGEST_TRIGGER = 2**63 - 1
LONGEST_DEFAULT_GRACE_MS = 1000.0


@dataclass(frozen=True, slots=True)
class MissedPart:
    """A part that was not inspected, because its number is missing from the trigger count.

    A camera that counts its own frames shows only the losses that happened after the camera.
    """

    gate: str
    camera: str
    epoch: int
    trigger_id: int
    lap: int
    is_counted_by_camera: bool = False


@dataclass(frozen=True, slots=True)
class Arrival:
    """A new frame. `was_reset`: the trigger counter restarted with it. `skipped`: how many parts it skipped.

    `trigger_before`: the highest trigger id of the epoch so far; None where there was none.
    """

    admitted: Admitted
    skipped: int = 0
    was_reset: bool = False
    clock_fault: str | None = None
    trigger_before: int | None = None


@dataclass(frozen=True, slots=True)
class Repeat:
    """A delivery of a known frame, which gets no second row."""

    result_id: ResultId


@dataclass(frozen=True, slots=True)
class _Metadata:
    frame_id: str | None
    trigger_id: int | None
    part_id: str | None
    captured_at: datetime | None
    product: str | None
    is_simulated: bool
    fault: str | None


def frame_digest(payload: bytes) -> str:
    """SHA-256 of a frame's bytes, the last part of its identity. Takes milliseconds for a large frame."""
    return hashlib.sha256(payload).hexdigest()


class Admission:
    """Admits the deliveries of all cameras of one agent. One event loop owns it."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._counters: dict[str, TriggerCounter] = {}
        self._memories: dict[str, FrameMemory] = {}
        # Simulated frames have counters of their own: they must not reset a live gate or invent missed parts.
        self._rehearsals: dict[str, FrameMemory] = {}
        self._last_captured: dict[str, datetime] = {}
        self._clocks_off: set[str] = set()
        self._orders: defaultdict[str, ReceiptOrder] = defaultdict(ReceiptOrder)
        self.moduli_changed: list[tuple[str, int]] = []
        """Gates whose stored counts were made with another modulus, and that modulus."""

    def assign(self, gates: dict[str, GateState], sightings: dict[str, list[Sighting]]) -> None:
        """Load what earlier runs stored: states by gate (or camera without a gate), frames by camera. Call first."""
        for camera in self._config.camera:
            gate = self._config.gate_of(camera.name)
            owner = gate.name if gate else camera.name
            if owner not in self._counters:
                state = gates.get(owner, GateState(owner))
                modulus, max_gap = (gate.trigger_modulus, gate.max_gap) if gate else (None, None)
                state = self._recounted(state, modulus)
                self._counters[owner] = TriggerCounter(state, modulus, max_gap, grace_of(gate))
            self._remember(camera, self._counters[owner], sightings.get(camera.name, []))

    def _recounted(self, state: GateState, modulus: int | None) -> GateState:
        """The state in a new epoch if it was counted with another modulus: its counts name other parts now."""
        before, is_used = state.modulus, state.last_trigger is not None
        state = replace(state, modulus=modulus)
        if before is None or before == modulus or not is_used:
            return state
        self.moduli_changed.append((state.name, before))
        return replace(state, epoch=state.epoch + 1, epoch_of="", last_trigger=None, gaps=())

    def _remember(self, camera: CameraSection, counter: TriggerCounter, sightings: list[Sighting]) -> None:
        rehearsal = TriggerCounter(replace(counter.state, last_trigger=None), counter.modulus, None, counter.gaps.grace)
        for memories, its_counter, simulated in (
            (self._memories, counter, False),
            (self._rehearsals, rehearsal, True),
        ):
            memory = FrameMemory(camera.name, camera.view, its_counter, camera.frame_id_memory, simulated=simulated)
            memory.fill(sighting for sighting in sightings if sighting.key.simulated == simulated)
            memories[camera.name] = memory

    def counter(self, owner: str) -> TriggerCounter:
        """The trigger counter of a gate, or of a camera without a gate. Raises KeyError for any other name."""
        return self._counters[owner]

    def take_over(self, owner: str, state: GateState | None, sightings: dict[str, list[Sighting]]) -> None:
        """Add what another agent recorded while it had the stream of this gate (or of this camera without a gate)."""
        state = state or GateState(owner)
        rehearsed = replace(state, last_trigger=None, gaps=())
        for camera, seen in sightings.items():
            self._memories[camera].take_over(state, [sighting for sighting in seen if not sighting.key.simulated])
            self._rehearsals[camera].take_over(rehearsed, [sighting for sighting in seen if sighting.key.simulated])

    def recorded(self, verdicts: Iterable[Verdict]) -> list[GateState]:
        """The states of these verdicts' gates (or cameras), to store in one transaction with the verdicts' rows.

        A row without a frame moves no count; the row of a missed part takes the part out of the state. A simulated
        frame moves no state either, because it has a counter of its own.
        """
        touched: dict[str, TriggerCounter] = {}
        for verdict in verdicts:
            owner = verdict.gate or verdict.camera
            counter = self._counters.get(owner)
            if counter is None or verdict.simulated:
                continue
            if verdict.frame_sha256 is not None:
                counter.record((verdict.epoch, verdict.lap, verdict.trigger_id))
                touched[owner] = counter
            elif (part := _missed_part_of(verdict, counter)) is not None:
                counter.gaps.has_row(*part)
                touched[owner] = counter
        return [counter.recorded_state for counter in touched.values()]

    def has_reached(self, camera: str, part: tuple[int, int, int]) -> bool:
        """Whether a camera at a gate has shown this part (epoch, lap, trigger), a later one, or another epoch."""
        gate = self._config.gate_of(camera)
        counter = self._counters[camera if gate is None else gate.name]
        epoch, lap, number = part
        if epoch != counter.state.epoch:
            return True
        reached = self._memories[camera].reached(epoch)
        return reached is not None and reached >= counter.count_of(lap, number)

    def is_clock_off(self, camera: str) -> bool:
        """Whether the clock of a camera was wrong in its last frame that has a time."""
        return camera in self._clocks_off

    def note_missed(self, verdict: Verdict) -> None:
        """Note a part that an earlier run found missed, so that it is not found missed again."""
        counter = self._counters.get(verdict.gate or verdict.camera)
        if counter is not None and (part := _missed_part_of(verdict, counter)) is not None:
            counter.gaps.close(*part)

    def take_missed(
        self, gate: GateSection, now_ns: int, proven_ns: int | None, *, is_settled: bool
    ) -> list[MissedPart]:
        """The skipped parts of a gate whose grace is over, each once.

        `proven_ns`: a frame that comes now reached its broker after this time. `is_settled` False: a camera of the
        gate may still deliver frames that it or its broker has kept.
        """
        counter = self._counters[gate.name]
        epoch = counter.state.epoch
        reached = [self._memories[camera].reached(epoch) for camera in gate.cameras]
        known = [count for count in reached if count is not None]
        progress = Progress(
            now_ns=now_ns,
            epoch=epoch,
            proven_ns=proven_ns if is_settled else None,
            reached=min(known) if is_settled and len(known) == len(reached) else None,
        )
        is_own_count = gate.trigger_source == "camera"
        return [
            MissedPart(gate.name, gate.cameras[0], epoch, counter.number(count), counter.lap(count), is_own_count)
            for epoch, count in counter.gaps.take_due(progress)
        ]

    def sent(self, camera: str, result_id: ResultId) -> None:
        """The acknowledgement of this frame was sent; the broker may still deliver the frame again."""
        self._memories[camera].sent(result_id)
        self._rehearsals[camera].sent(result_id)

    def acknowledged(self, camera: str, result_id: ResultId) -> None:
        """The broker will not deliver this frame again."""
        self._memories[camera].acknowledged(result_id)
        self._rehearsals[camera].acknowledged(result_id)

    def admit(self, delivery: Delivery, sha256: str) -> Arrival | Repeat:
        """Admit one delivery. `sha256`: the delivery's `frame_digest`.

        The caller computes the digest, because admission runs on the event loop. Nothing that a camera sends makes
        this raise. Raises KeyError for a camera that isn't configured.
        """
        camera = self._config.camera_named(delivery.camera)
        gate = self._config.gate_of(camera.name)
        meta = _within_modulus(read_metadata(delivery), gate)
        times = times_of(delivery, meta.captured_at, camera, gate)
        ids = FrameIds(
            frame_id=meta.frame_id,
            trigger_id=meta.trigger_id,
            part_id=meta.part_id,
            sha256=sha256,
            broker_id=delivery.broker_id,
            is_redelivered=delivery.redelivered or _may_come_again(delivery),
            generation=delivery.position.generation,
            at_ns=delivery.received_ns if delivery.proven_ns is None else delivery.proven_ns,
            packet_id=delivery.packet_id,
        )
        owner = gate.name if gate else camera.name
        trigger_before = self._trigger_reached(owner)
        memory = (self._rehearsals if meta.is_simulated else self._memories)[camera.name]
        classified = memory.classify(ids, self._is_newer(camera.name, times))
        if isinstance(classified, Known):
            return Repeat(classified.result_id)
        if gate is not None and not meta.is_simulated:
            times = self._ordered_times(times, delivery, gate, classified)
        admitted = _admitted(delivery, gate, meta, classified, times)
        standing = self._standing(owner, classified.key.epoch, classified.count, delivery.received_at)
        is_golden = standing.mode is GateMode.GOLDEN and not meta.is_simulated
        if is_golden and self._counters[owner].state.golden.may_be_master(meta.part_id):
            standing = replace(standing, is_master=True)
        admitted = replace(admitted, standing=standing)
        if meta.is_simulated:
            return Arrival(admitted)
        self._last_captured[camera.name] = times.captured_at
        clock_fault = self._new_clock_fault(camera.name, times)
        return Arrival(admitted, len(classified.missed), classified.was_reset, clock_fault, trigger_before)

    def _trigger_reached(self, owner: str) -> int | None:
        counter = self._counters[owner]
        return None if counter.state.last_trigger is None else counter.number(counter.state.last_trigger)

    def standing(self, owner: str, epoch: int, lap: int, number: int | None, at: datetime) -> Standing:
        """Mode and job of a part at a gate (or camera without a gate). `number` None: the latest part."""
        counter = self._counters[owner]
        return self._standing(owner, epoch, None if number is None else counter.count_of(lap, number), at)

    def _standing(self, owner: str, epoch: int, count: int | None, at: datetime) -> Standing:
        counter = self._counters[owner]
        return Standing(
            counter.state.mode_at(at), counter.state.job_of(epoch, counter.reached if count is None else count)
        )

    def _ordered_times(self, times: FrameTimes, delivery: Delivery, gate: GateSection, frame: New) -> FrameTimes:
        """The times of a frame, corrected where the frame of a later part came before it."""
        if frame.count is None:
            return times
        order, part = self._orders[delivery.camera], (frame.key.epoch, frame.count)
        captured_at = times.captured_at if times.source is TimeSource.CAMERA else None
        if not order.note(part, delivery.received_ns, captured_at):
            return times
        if captured_at is not None and order.is_captured_in_order(captured_at):
            return times
        return overtaken_times(times, delivery, gate, order.not_before_ns(part))

    def _is_newer(self, camera: str, times: FrameTimes) -> bool:
        last = self._last_captured.get(camera)
        return times.source is TimeSource.RECEIVED or last is None or times.captured_at > last

    def _new_clock_fault(self, camera: str, times: FrameTimes) -> str | None:
        """The fault of a camera's clock, returned once; again only after a frame with a correct time has come."""
        if times.clock_fault is None:
            if times.source is TimeSource.CAMERA:
                self._clocks_off.discard(camera)
            return None
        is_known = camera in self._clocks_off
        self._clocks_off.add(camera)
        return None if is_known else times.clock_fault


def grace_of(gate: GateSection | None) -> Grace:
    """How late a frame may come to a gate (or, without a gate, to a camera) before its part counts as missed."""
    if gate is None:
        return UNGATED_GRACE
    grace_ms = gate.miss_grace_ms or min(gate.window_ms, LONGEST_DEFAULT_GRACE_MS)
    return Grace(gate.miss_grace_triggers, int(grace_ms * 1e6))


def _missed_part_of(verdict: Verdict, counter: TriggerCounter) -> Part | None:
    if verdict.cause is not Cause.NOT_RECEIVED or verdict.trigger_id is None:
        return None
    return verdict.epoch, counter.count_of(verdict.lap, verdict.trigger_id)


def read_metadata(delivery: Delivery) -> _Metadata:
    """The metadata in the headers. `fault` names everything that is wrong; a faulty header counts as absent.

    An empty header is absent too, and no fault.
    """
    properties = delivery.properties
    faults: list[str] = []
    if "x-property-fault" in properties:
        faults.append(properties["x-property-fault"])
    trigger_id = None
    if raw := properties.get("trigger-id"):
        if raw.isascii() and raw.isdigit() and len(raw) <= 19 and int(raw) <= LARGEST_TRIGGER:
            trigger_id = int(raw)
        else:
            faults.append("trigger-id is not an unsigned whole number")
    captured_at = None
    if raw := properties.get("captured-at"):
        captured_at = _parse_time(raw)
        if captured_at is None:
            faults.append("captured-at is not an RFC 3339 time with its offset")
    mark = properties.get("simulated", "").strip().lower()
    if mark not in (*SIMULATED, *REAL):
        faults.append("simulated is neither true nor false")
    return _Metadata(
        frame_id=_short(properties, "frame-id", faults),
        trigger_id=trigger_id,
        part_id=_short(properties, "part-id", faults),
        captured_at=captured_at,
        product=_short(properties, "product", faults),
        is_simulated=mark in SIMULATED,
        fault="; ".join(faults) or None,
    )


def _within_modulus(meta: _Metadata, gate: GateSection | None) -> _Metadata:
    """A trigger id beyond its gate's modulus can't come from the gate's counter. It counts as absent, with a fault."""
    modulus = gate.trigger_modulus if gate else None
    if modulus is None or meta.trigger_id is None or meta.trigger_id < modulus:
        return meta
    fault = f"trigger-id {meta.trigger_id} is not below trigger_modulus {modulus}"
    return replace(meta, trigger_id=None, fault="; ".join(filter(None, (meta.fault, fault))))


def _may_come_again(delivery: Delivery) -> bool:
    """Whether an earlier run may have received this message. A broker that numbers its messages marks no redelivery."""
    return delivery.backlog and delivery.broker_id is not None


def _short(properties: Mapping[str, str], name: str, faults: list[str]) -> str | None:
    value = properties.get(name)
    if not value:
        return None
    text = value
    if len(text) > LONGEST_ID or not text.isprintable():
        faults.append(f"{name} is longer than {LONGEST_ID} characters or not printable")
        return None
    return text


def _parse_time(text: str) -> datetime | None:
    try:
        return parse_rfc_3339(text)
    except ValueError:
        return None


def _admitted(delivery: Delivery, gate: GateSection | None, meta: _Metadata, frame: New, times: FrameTimes) -> Admitted:
    needs_trigger = gate is not None and gate.match == "trigger_id" and meta.trigger_id is None
    return Admitted(
        delivery=delivery,
        key=frame.key,
        captured_at=times.captured_at,
        time_source=times.source,
        act_before=times.act_before,
        act_before_ns=times.act_before_ns,
        claimed_product=meta.product,
        simulated=meta.is_simulated,
        id_conflict=frame.id_conflict,
        missing_trigger=needs_trigger,
        is_late=times.is_late,
        fault=meta.fault,
    )
