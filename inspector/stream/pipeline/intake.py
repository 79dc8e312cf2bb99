"""Turns a delivery into a ticket in the waiting line. Every new frame gets a row.

A frame that can't go on is settled here.
A camera at a gate is never held back: without room its frame is shed, with a row. A late frame at a gate gets its row
at the speed of the broker and is judged afterwards, so it never stands before a live frame. A camera without a gate
waits for room, so its frames stay with the broker. The SHA-256 of a large frame is computed on a thread, and the
next frame of its source is taken after that. So the order of admission is the order of delivery.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from inspector.domain import Admitted, Delivery, FrameFacts, Severity
from inspector.ports import FrameSource
from inspector.stream.admission import Arrival, Repeat, frame_digest
from inspector.stream.deciding import UNINSPECTING_MODES
from inspector.stream.pipeline.alarms import Alarms
from inspector.stream.pipeline.camera_watch import CameraWatch
from inspector.stream.pipeline.frozen import FrozenCameras
from inspector.stream.pipeline.misses import Misses
from inspector.stream.pipeline.recording import Recording
from inspector.stream.pipeline.settling import Settling
from inspector.stream.pipeline.takeover import Takeover
from inspector.stream.pipeline.ticket import Receipt, Shared, Ticket
from inspector.stream.pipeline.workers import Workers

MOST_DEFERRED: Final = 256
"""Late frames whose bytes may be in memory. Beyond that their source waits for the disk."""

HASHERS: Final = 2

SMALL_BYTES: Final = 128 * 1024
"""A payload of at most this size is hashed on the event loop: 0.1 to 0.3 ms, and a thread's round trip takes longer."""

MOST_AT_ONCE: Final = 8
"""Deliveries that are taken without a pause, if many wait. Between them the loop serves everything else."""


class Intake:
    """Takes the deliveries of every source; one task for each source runs `run`."""

    def __init__(
        self,
        shared: Shared,
        settling: Settling,
        recording: Recording,
        takeover: Takeover,
        frozen: FrozenCameras,
        misses: Misses,
        camera_watch: CameraWatch,
    ) -> None:
        self._shared = shared
        self._camera_watch = camera_watch
        self._misses = misses
        self._takeover = takeover
        self._settling = settling
        self._recording = recording
        self._hashers = Workers(HASHERS, "hash")
        self._frozen = frozen
        self._alarms = Alarms(shared)  # a counter that stands still makes an event of every frame

    def close(self) -> None:
        """Let the hashing threads end."""
        self._hashers.shutdown(wait=True)

    async def run_alarms(self) -> None:
        """Tell what waits for its event, until cancelled."""
        await self._alarms.run()

    def tell_last(self) -> None:
        """Tell what waits for its event now."""
        self._alarms.tell_due(is_last=True)

    async def run(self, source: FrameSource) -> None:
        """Take deliveries until the source's intake is stopped."""
        taken = 0
        async for delivery in source.deliveries(self.make_ready):
            await self.take(source, delivery)
            taken += 1
            if taken % MOST_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def make_ready(self, delivery: Delivery) -> None:
        """Wait until this delivery can be taken. A wait here delays one stream; a wait in `take` delays the source."""
        camera, size_bytes = delivery.camera, len(delivery.payload)
        await self._takeover.ensure_loaded(camera, delivery.position)
        while self._shared.gate_of(camera) is None and not self._shared.has_room_for(camera, size_bytes):
            await self._shared.has_room.wait()

    async def take(self, source: FrameSource, delivery: Delivery) -> None:
        """Admit one delivery. Returns when its frame waits in line or is settled."""
        is_held = self._hold(delivery)
        self._shared.watermark.open(delivery.position)
        self._misses.note_connection(delivery)
        sha256 = await self._hash(delivery.payload)
        arrival = self._shared.admission.admit(delivery, sha256)
        self._shared.telemetry.count("deliveries", camera=delivery.camera)
        if isinstance(arrival, Repeat):
            self._shared.frame_room.let_go(delivery.position)
            self._repeat(Receipt(source, delivery.position), delivery.camera, arrival)
            return
        self._note_count(arrival)
        self._camera_watch.note_frame(arrival.admitted)
        unseen = self._frozen.note_bytes(arrival.admitted)
        self._note_clock(arrival)
        self._note_seen(arrival.admitted)
        ticket = self._ticket(source, arrival)
        self._settling.note_arrival(arrival.admitted)
        self._shared.checkpoint("admitted")
        admitted = arrival.admitted
        if admitted.fault is not None or admitted.missing_trigger:
            self._settling.settle(ticket, ticket.facts)
            return
        if unseen is not None:
            self._settling.settle(ticket, replace(ticket.facts, failure=unseen))
            return
        if admitted.is_late and self._is_deferred(ticket):
            self._settling.defer(ticket)
            while self._settling.deferring > MOST_DEFERRED:
                await self._shared.has_room.wait()
            return
        if not is_held:
            self._settling.overload(ticket, "the frames in memory leave no room for it (agent.frames_mib)")
            while self._shared.frame_room.is_over:  # until its row and its picture are on their way
                await self._shared.has_room.wait()
            return
        if not self._shared.line.has_room(ticket.camera):
            if self._shared.gate_of(ticket.camera) is not None:
                self._settling.overload(ticket, "more frames of this camera wait than may")
                return
            await self._room_for(ticket)
        self._shared.line.put(ticket, ticket.camera, ticket.decide_by_ns)
        self._shared.has_frame.set()
        self._shared.expect_deadline(ticket.decide_by_ns)

    def _hold(self, delivery: Delivery) -> bool:
        """Count the frame's bytes. False where a camera at a gate has no room for them, which is never held back."""
        room, size_bytes = self._shared.frame_room, len(delivery.payload)
        has_room = (
            room.holds(delivery.position)
            or room.has_room(delivery.camera, size_bytes)
            or self._shared.gate_of(delivery.camera) is None
        )
        room.hold(delivery.position, delivery.camera, size_bytes)
        return has_room

    async def _hash(self, payload: bytes) -> str:
        if len(payload) <= SMALL_BYTES:
            return frame_digest(payload)
        return await asyncio.get_running_loop().run_in_executor(self._hashers, frame_digest, payload)

    def _repeat(self, receipt: Receipt, camera: str, repeat: Repeat) -> None:
        self._shared.telemetry.count("redeliveries", camera=camera)
        original = self._shared.in_flight.get(repeat.result_id)
        if original is None:
            self._recording.skip(receipt)
        else:
            original.followers.append(receipt)

    def _tell_reset(self, arrival: Arrival, camera: str) -> None:
        """A jump forward may also be parts of an outage that nobody saw, for which there are no rows."""
        key, before = arrival.admitted.key, arrival.trigger_before
        modulus = self._shared.admission.counter(self._shared.owner_of(camera)).modulus
        between = None if before is None or key.trigger_id is None else _between(before, key.trigger_id, modulus)
        if between is not None:
            severity = Severity.ALARM
            detail = (
                f"camera {camera} sent trigger {key.trigger_id} after {before}, farther than max_gap: either its "
                f"counter was set anew, or {between} parts were not seen and have no row. Epoch {key.epoch} begins"
            )
        else:
            severity = Severity.WARNING
            after = "" if before is None else f" after {before}"
            detail = (
                f"camera {camera} sent trigger {key.trigger_id}{after}, so its counter has begun again and epoch "
                f"{key.epoch} begins. If nobody reset it, look at trigger_modulus and max_gap"
            )
        self._alarms.tell("counter_reset", severity, self._shared.owner_of(camera), detail, sentence=_counter_resets)

    def _note_count(self, arrival: Arrival) -> None:
        camera = arrival.admitted.delivery.camera
        if arrival.was_reset:
            self._tell_reset(arrival, camera)
        if arrival.skipped:
            self._shared.has_gap.set()
        if arrival.admitted.id_conflict:
            case = arrival.admitted.result_id
            self._alarms.tell("id_conflict", Severity.WARNING, camera, case, sentence=_id_conflicts)

    def _note_seen(self, admitted: Admitted) -> None:
        """Note the frame as the part that is under way, for the report on that part. A frame that waited is no such."""
        gate = self._shared.gate_of(admitted.delivery.camera)
        is_live = not (admitted.simulated or admitted.delivery.backlog)
        if gate is not None and admitted.key.trigger_id is None and is_live:
            self._shared.last_seen[gate.name] = admitted.result_id

    def _note_clock(self, arrival: Arrival) -> None:
        if arrival.clock_fault is not None:
            camera = arrival.admitted.delivery.camera
            self._shared.event("camera_clock_off", Severity.ALARM, camera, arrival.clock_fault)

    def _ticket(self, source: FrameSource, arrival: Arrival) -> Ticket:
        admitted = arrival.admitted
        gate = self._shared.gate_of(admitted.delivery.camera)
        decide_by_ns = gate.open(admitted) if gate else admitted.act_before_ns
        if admitted.is_late:
            decide_by_ns = None  # its time is over: it is judged for the record, after the frames in time
        ticket = Ticket(FrameFacts(admitted), source, decide_by_ns)
        self._shared.in_flight[ticket.result_id] = ticket
        return ticket

    def _is_deferred(self, ticket: Ticket) -> bool:
        """Whether a late frame is judged when the line has time. In a mode that does not inspect, it is not judged."""
        mode = ticket.facts.admitted.standing.mode
        return self._shared.gate_of(ticket.camera) is not None and mode not in UNINSPECTING_MODES

    async def _room_for(self, ticket: Ticket) -> None:
        while not self._shared.line.has_room(ticket.camera):
            await self._shared.has_room.wait()


def _counter_resets(count: int, cases: str) -> str:
    return cases if count == 1 else f"{count} times: {cases}"


def _id_conflicts(count: int, cases: str) -> str:
    if count == 1:
        what = "a frame came under an id that another picture had before, and is judged on its own"
    else:
        what = f"{count} frames came under ids that other pictures had before, and each is judged on its own"
    return f"{what}; no id may be used twice. See: inspector results show {cases}"


def _between(before: int, trigger: int, modulus: int | None) -> int | None:
    """Number of triggers between two, counted forward; None if it is rather a step back.

    Of a counter that wraps, the shorter way is taken.
    """
    if modulus is None:
        return trigger - before - 1 if trigger > before else None
    forward = (trigger - before) % modulus
    return forward - 1 if 0 < forward <= modulus // 2 else None
