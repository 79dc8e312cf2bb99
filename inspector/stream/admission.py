"""Turns a delivery into an admitted frame: its ids, time of capture, deadline, and place in the trigger count.

Pure: all times come from the delivery or the caller. Nothing is refused here: a frame with unusable
metadata is admitted with a `fault`, so that it gets its row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from inspector.config.config import Config
from inspector.config.sections import CameraSection, GateSection
from inspector.domain import Admitted, Delivery, GateMode, GateState, ResultId, Sighting, Standing, TimeSource, Verdict
from inspector.stream.identity import FrameIds, FrameMemory, Known, New, TriggerCounter
from inspector.stream.timing import FrameTimes, times_of
from inspector.stream.verdict_record import parse_time

LONGEST_ID = 128
SIMULATED = ("true", "1", "yes")
REAL = ("", "false", "0", "no")
LARGEST_TRIGGER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class MissedPart:
    """A part that passed uninspected, because its number is missing from the trigger count.

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
    """A new frame, with the parts missed before it. `was_reset`: the trigger counter restarted with this frame."""

    admitted: Admitted
    missed: tuple[MissedPart, ...] = ()
    was_reset: bool = False
    clock_fault: str | None = None


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

    def assign(self, gates: dict[str, GateState], sightings: dict[str, list[Sighting]]) -> None:
        """Load what earlier runs stored: states by gate (or camera without a gate), frames by camera. Call first."""
        for camera in self._config.camera:
            gate = self._config.gate_of(camera.name)
            owner = gate.name if gate else camera.name
            if owner not in self._counters:
                state = gates.get(owner, GateState(owner))
                modulus, max_gap = (gate.trigger_modulus, gate.max_gap) if gate else (None, None)
                self._counters[owner] = TriggerCounter(state, modulus, max_gap)
            self._remember(camera, self._counters[owner], sightings.get(camera.name, []))

    def _remember(self, camera: CameraSection, counter: TriggerCounter, sightings: list[Sighting]) -> None:
        rehearsal = TriggerCounter(replace(counter.state, last_trigger=None), counter.modulus, None)
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
        rehearsed = replace(state, last_trigger=None)
        for camera, seen in sightings.items():
            self._memories[camera].take_over(state, [sighting for sighting in seen if not sighting.key.simulated])
            self._rehearsals[camera].take_over(rehearsed, [sighting for sighting in seen if sighting.key.simulated])

    def recorded(self, verdicts: Iterable[Verdict]) -> list[GateState]:
        """The states of these verdicts' gates (or cameras), to store in one transaction with the verdicts' rows.

        A row without a frame moves no state: an agent that finds the same gap again makes the same row again. A
        simulated frame moves no state either, because it has a counter of its own.
        """
        touched: dict[str, TriggerCounter] = {}
        for verdict in verdicts:
            owner = verdict.gate or verdict.camera
            counter = self._counters.get(owner)
            if counter is not None and verdict.frame_sha256 is not None and not verdict.simulated:
                counter.record((verdict.epoch, verdict.lap, verdict.trigger_id))
                touched[owner] = counter
        return [counter.recorded_state for counter in touched.values()]

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
        )
        memory = (self._rehearsals if meta.is_simulated else self._memories)[camera.name]
        classified = memory.classify(ids, self._is_newer(camera.name, times))
        if isinstance(classified, Known):
            return Repeat(classified.result_id)
        admitted = _admitted(delivery, gate, meta, classified, times)
        owner = gate.name if gate else camera.name
        standing = self._standing(owner, classified.key.epoch, classified.count, delivery.received_at)
        is_golden = standing.mode is GateMode.GOLDEN and not meta.is_simulated
        if is_golden and self._counters[owner].state.golden.may_be_master(meta.part_id):
            standing = replace(standing, is_master=True)
        admitted = replace(admitted, standing=standing)
        if meta.is_simulated:
            return Arrival(admitted)
        self._last_captured[camera.name] = times.captured_at
        return Arrival(
            admitted, self._missed(gate, classified), classified.was_reset, self._new_clock_fault(camera.name, times)
        )

    def standing(self, owner: str, epoch: int, lap: int, number: int | None, at: datetime) -> Standing:
        """Mode and job of a part at a gate (or camera without a gate). `number` None: the latest part."""
        counter = self._counters[owner]
        return self._standing(owner, epoch, None if number is None else lap * (counter.modulus or 0) + number, at)

    def _standing(self, owner: str, epoch: int, count: int | None, at: datetime) -> Standing:
        counter = self._counters[owner]
        return Standing(
            counter.state.mode_at(at), counter.state.job_of(epoch, counter.reached if count is None else count)
        )

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

    def _missed(self, gate: GateSection | None, frame: New) -> tuple[MissedPart, ...]:
        if gate is None or not frame.missed:
            return ()
        counter, is_own_count = self._counters[gate.name], gate.trigger_source == "camera"
        return tuple(
            MissedPart(
                gate.name, gate.cameras[0], frame.key.epoch, counter.number(count), counter.lap(count), is_own_count
            )
            for count in frame.missed
        )


def read_metadata(delivery: Delivery) -> _Metadata:
    """The metadata in the headers. `fault` names everything that is wrong; a faulty header counts as absent."""
    properties = delivery.properties
    faults: list[str] = []
    if "x-property-fault" in properties:
        faults.append(properties["x-property-fault"])
    trigger_id = None
    if (raw := properties.get("trigger-id")) is not None:
        if raw.isascii() and raw.isdigit() and len(raw) <= 19 and int(raw) <= LARGEST_TRIGGER:
            trigger_id = int(raw)
        else:
            faults.append("trigger-id is not an unsigned whole number")
    captured_at = None
    if (raw := properties.get("captured-at")) is not None:
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
        return parse_time(text)
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
