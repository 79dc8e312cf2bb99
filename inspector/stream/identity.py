"""Decides whether a frame is new, known or in conflict, which epoch it belongs to, and which parts were missed.

Pure. The memory is bounded, and filled from the ledger and the journal at start. A frame that the memory
has forgotten gets no second row as long as its epoch lasts: the result id is a function of the frame's identity, and
the ledger takes each result id once.

Rules (contract, "Identity"):
* A delivery is looked up in the current and the previous epoch before its trigger id is looked at. In the current one
  a frame with a frame id, and one that its broker brings again, is looked for in all laps of a counter that wraps.
  Another frame with the bytes of a lap before may be a part that a frozen camera shows, and is new.
* Only an unknown frame that is newer than the last one can be the first of a counter that was reset.
* A gap of at most `max_gap` numbers is that many skipped parts, whose frames may still come (`gaps`). A longer jump,
  or a step back, is a reset: a new epoch begins, and no part counts as missed.
* A step back is no reset if it leads to a number that this epoch has skipped. Nor is it one if it leads to a number
  just before the first number of the epoch, within the grace of a frame: the first two frames came in another order.
* A known number of the same camera with other bytes is a conflict within `max_gap`, and a reset beyond
  `max_gap`. The third conflict in a row with rising numbers is a reset too.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from inspector.domain import FrameKey, GateState, ResultId, Sighting
from inspector.stream.trigger_counter import (
    NO_TRIGGER,
    Motion,
    TriggerCounter,
    TriggerStep,
    nearest_count,
)

__all__ = [
    "FrameIds",
    "FrameMemory",
    "Known",
    "Motion",
    "New",
    "TriggerCounter",
    "TriggerStep",
    "nearest_count",
]

EPOCHS_KEPT = 8
"""Epochs of a camera that are remembered to find the one before the current epoch."""

RESTART_RUN = 3
"""This many conflicts of one camera in a row, with rising numbers, mean a reset counter. Fewer may be retaken parts."""


@dataclass(frozen=True, slots=True)
class FrameIds:
    """The ids that a delivery carries.

    `broker_id` is the broker's own lasting id of the message, if the broker gives one. `generation` is the connection
    that brought the message; a broker delivers a message at most once per connection. `at_ns` is the earliest
    monotonic time at which the message can have been sent. `packet_id` is no identity: the broker uses it again, and 0
    means none. But a message that comes again has the one that it had.
    """

    frame_id: str | None
    trigger_id: int | None
    part_id: str | None
    sha256: str
    broker_id: str | None = None
    is_redelivered: bool = False
    generation: int = 0
    at_ns: int = 0
    packet_id: int = 0


@dataclass(frozen=True, slots=True)
class _Awaited:
    """A frame without ids that its broker may deliver again.

    `generation` is the connection that last brought it (None: an earlier run's). `is_sent`: its acknowledgement was
    sent, and the broker has not confirmed it. Then another frame with equal bytes, which the link lost on its way here,
    may come under the broker's mark of a redelivery as well, and only the packet id tells one from the other.
    """

    sha256: str
    generation: int | None
    packet_id: int
    is_sent: bool = False

    def is_again(self, ids: FrameIds) -> bool:
        """Whether this redelivery is of this frame. A connection brings each message once."""
        if self.sha256 != ids.sha256 or self.generation == ids.generation:
            return False
        return not self.is_sent or 0 != self.packet_id == ids.packet_id


class CameraCount:
    """The highest count of one camera, and whether the camera's counter was reset to numbers that were seen before.

    The count of the gate can't show such a reset, since one of its cameras may be ahead of another.
    """

    def __init__(self, max_gap: int | None) -> None:
        self._max_gap = max_gap
        self._reached = (0, NO_TRIGGER)
        self._run = 0
        self._last_conflict = NO_TRIGGER

    def reach(self, epoch: int, count: int) -> None:
        """Note that this camera has shown the part with this count."""
        self._reached = max(self._reached, (epoch, count))

    def reached(self, epoch: int) -> int | None:
        """The highest count that this camera has shown in an epoch; None if it has shown none."""
        its_epoch, count = self._reached
        return count if its_epoch == epoch else None

    def begins_again(self, epoch: int, count: int, is_conflict: bool) -> bool:
        """Whether this frame is the first after a reset. Call once for each unknown frame newer than the last.

        `is_conflict`: a known frame has the same number and other bytes.
        """
        its_epoch, reached = self._reached
        if its_epoch != epoch or count > reached:
            self._run = 0
            return False
        if self._max_gap is not None and reached - count > self._max_gap:
            return True
        if not is_conflict:
            return False  # it may be a part that was counted as missed
        self._run = self._run + 1 if self._run and count > self._last_conflict else 1
        self._last_conflict = count
        return self._run >= RESTART_RUN


@dataclass(frozen=True, slots=True)
class Known:
    """The delivery is of a known frame, which gets no second row."""

    result_id: ResultId


@dataclass(frozen=True, slots=True)
class New:
    """The delivery is of a new frame. `missed`: counts of parts that it skipped. `was_reset`: a new epoch began."""

    key: FrameKey
    count: int | None
    id_conflict: bool
    missed: tuple[int, ...] = ()
    was_reset: bool = False


class FrameMemory:
    """The newest `bound` known frames of one camera."""

    def __init__(
        self,
        camera: str,
        view: str,
        counter: TriggerCounter,
        bound: int,
        *,
        simulated: bool = False,
        new_nonce: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._camera = camera
        self._view = view
        self._counter = counter
        self._own = CameraCount(counter.max_gap)
        self._bound = bound
        self._simulated = simulated
        self._new_nonce = new_nonce
        self._known: OrderedDict[tuple[int, str | None, int | None, str], ResultId] = OrderedDict()
        self._bytes_of_id: OrderedDict[tuple[int, str], str] = OrderedDict()
        self._entries: deque[tuple[int, int]] = deque()  # how many of both each frame added, the oldest first
        self._unacknowledged: OrderedDict[ResultId, _Awaited] = OrderedDict()
        self._by_broker: OrderedDict[ResultId, None] = OrderedDict()
        self._epochs: tuple[int, ...] = ()

    def fill(self, sightings: Iterable[Sighting]) -> None:
        """Add the frames that earlier runs knew, oldest first."""
        for sighting in sightings:
            key = sighting.key
            count = None if key.trigger_id is None else self._count_of(key)
            if count is not None:
                self._own.reach(key.epoch, count)
                if key.epoch == self._counter.state.epoch:
                    self._counter.remember(count)
            self._remember(key, count, sighting.result_id)
            if key.nonce and not sighting.acknowledged:
                self._expect_again(sighting.result_id, _Awaited(key.sha256, None, 0))

    def reached(self, epoch: int) -> int | None:
        """The highest count that this camera has shown in an epoch; None if it has shown none."""
        return self._own.reached(epoch)

    def take_over(self, state: GateState, sightings: Iterable[Sighting]) -> None:
        """Add the state and the frames that another agent knew."""
        self._counter.adopt(state)
        self.fill(sightings)

    def classify(self, ids: FrameIds, can_be_reset: bool = True) -> Known | New:
        """Look the frame up; move the counter if the frame is new. `can_be_reset`: it is newer than the last frame."""
        known = self._find(ids)
        if known is not None:
            return Known(known)
        step = self._step(ids, can_be_reset and not ids.is_redelivered)
        epoch = step.epoch if step else self._counter.state.epoch
        count = step.count if step else None
        key = self._make_key(ids, epoch, count)
        is_conflict = self._is_conflict(key, count)
        self._remember(key, count, key.result_id)
        if key.nonce:
            self._expect_again(key.result_id, _Awaited(key.sha256, ids.generation, ids.packet_id))
        missed = step.missed if step else ()
        return New(key, count, is_conflict, missed, step is not None and step.motion is Motion.RESET)

    def _step(self, ids: FrameIds, can_be_reset: bool) -> TriggerStep | None:
        number = ids.trigger_id
        if number is None:
            return None
        epoch, count = self._counter.state.epoch, self._counter.place(number, ids.at_ns)
        seen = self._bytes_of_id.get((epoch, f"trigger:{count}"))
        is_conflict = seen is not None and seen != ids.sha256
        if can_be_reset and self._own.begins_again(epoch, count, is_conflict):
            step = self._counter.restart(number, ids.at_ns)
        else:
            step = self._counter.step(number, can_be_reset, ids.at_ns)
        self._own.reach(step.epoch, step.count)
        return step

    def sent(self, result_id: ResultId) -> None:
        """Note that the acknowledgement of this frame was sent. The broker may not have it yet."""
        if awaited := self._unacknowledged.get(result_id):
            self._unacknowledged[result_id] = replace(awaited, is_sent=True)

    def acknowledged(self, result_id: ResultId) -> None:
        """Note that the broker will not deliver this frame again: a later delivery with equal bytes is a new frame."""
        self._unacknowledged.pop(result_id, None)

    def _find(self, ids: FrameIds) -> ResultId | None:
        if ids.frame_id is None and ids.trigger_id is None:
            return self._find_weak(ids)
        epoch = self._counter.state.epoch
        count = None if ids.trigger_id is None else self._counter.place(ids.trigger_id)
        # Frames of the previous epoch are looked up by number alone, because that epoch's lap is no longer known.
        # An agent that took its gate over from another one has skipped that one's epochs.
        before = max((known for known in self._epochs if known < epoch), default=epoch - 1)
        places = [(epoch, ids.frame_id, count, ids.sha256)]
        if ids.frame_id is not None or ids.is_redelivered:
            places.append((epoch, ids.frame_id, ids.trigger_id, ids.sha256))
        places.append((before, ids.frame_id, ids.trigger_id, ids.sha256))
        return next((self._known[place] for place in places if place in self._known), None)

    def _find_weak(self, ids: FrameIds) -> ResultId | None:
        if ids.broker_id is not None:
            result_id = self._make_key(ids, self._counter.state.epoch, None).result_id
            return result_id if result_id in self._by_broker else None
        if not ids.is_redelivered:
            return None
        for result_id, awaited in self._unacknowledged.items():
            if awaited.is_again(ids):
                self._unacknowledged[result_id] = replace(awaited, generation=ids.generation, packet_id=ids.packet_id)
                return result_id
        return None

    def _make_key(self, ids: FrameIds, epoch: int, count: int | None) -> FrameKey:
        is_weak = ids.frame_id is None and ids.trigger_id is None
        nonce = (ids.broker_id or self._new_nonce()) if is_weak else ""
        return FrameKey(
            camera=self._camera,
            view=self._view,
            epoch=epoch,
            frame_id=ids.frame_id,
            trigger_id=ids.trigger_id,
            part_id=ids.part_id,
            sha256=ids.sha256,
            nonce=nonce,
            lap=0 if count is None else self._counter.lap(count),
            simulated=self._simulated,
        )

    def _is_conflict(self, key: FrameKey, count: int | None) -> bool:
        for name in self._names(key, count):
            known = self._bytes_of_id.get((key.epoch, name))
            if known is not None and known != key.sha256:
                return True
        return False

    @staticmethod
    def _names(key: FrameKey, count: int | None) -> list[str]:
        names = [f"frame:{key.frame_id}"] if key.frame_id is not None else []
        return [*names, f"trigger:{count}"] if count is not None else names

    def _remember(self, key: FrameKey, count: int | None, result_id: ResultId) -> None:
        if key.epoch not in self._epochs:
            self._epochs = tuple(sorted((*self._epochs, key.epoch))[-EPOCHS_KEPT:])
        if key.nonce:
            self._by_broker[result_id] = None
            while len(self._by_broker) > self._bound:
                self._by_broker.popitem(last=False)
            return
        before = len(self._known), len(self._bytes_of_id)
        # Also under the plain number: `_find` looks a frame up by this number when the frame's lap or epoch is over.
        for place in {
            (key.epoch, key.frame_id, count, key.sha256),
            (key.epoch, key.frame_id, key.trigger_id, key.sha256),
        }:
            self._known[place] = result_id
        for name in self._names(key, count):
            self._bytes_of_id.setdefault((key.epoch, name), key.sha256)
        added = len(self._known) - before[0], len(self._bytes_of_id) - before[1]
        if any(added):
            self._entries.append(added)
        while len(self._entries) > self._bound:
            places, names = self._entries.popleft()
            for _ in range(places):
                self._known.popitem(last=False)
            for _ in range(names):
                self._bytes_of_id.popitem(last=False)

    def _expect_again(self, result_id: ResultId, awaited: _Awaited) -> None:
        self._unacknowledged[result_id] = awaited
        while len(self._unacknowledged) > self._bound:
            self._unacknowledged.popitem(last=False)

    def _count_of(self, key: FrameKey) -> int | None:
        if key.trigger_id is None:
            return None
        return self._counter.count_of(key.lap, key.trigger_id)
