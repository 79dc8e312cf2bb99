"""Decides whether a frame is new, known or in conflict, which epoch it belongs to, and which parts were missed.

Pure. The memory is bounded, and filled from the ledger and the journal at start. A frame that the memory
has forgotten still gets no second row: the result id is a function of the frame's identity, and the
ledger takes each result id once.

Rules (contract, "Identity"):
* A delivery is looked up in the current and the previous epoch before its trigger id is looked at.
* Only an unknown frame that is newer than the last one can be the first of a counter that was reset.
* A gap of at most `max_gap` numbers is that many skipped parts, whose frames may still come (`gaps`). A longer jump,
  or a step back, is a reset: a new epoch begins, and no part counts as missed.
* A step back is no reset if it leads to a number that this epoch has skipped. Nor is it one if it leads to a number
  just before the first number of the epoch, within the grace of a frame: the first two frames came in another order.
* A known number of the same camera with other bytes is a conflict within `max_gap`, and a reset beyond
  `max_gap`. The third conflict in a row with rising numbers is a reset too.
"""

from __future__ import annotations

import enum
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from inspector.domain import FrameKey, GateState, ResultId, Sighting
from inspector.stream.gaps import UNGATED_GRACE, Grace, OpenGaps
from inspector.stream.gate_merging import watched_fields

REMEMBERED_TRIGGERS = 4096
NO_TRIGGER = -1
"""Count of an epoch in which no trigger has come yet; lower than every other count."""

RESTART_RUN = 3
"""This many conflicts of one camera in a row, with rising numbers, mean a reset counter. Fewer may be retaken parts."""

COMMANDED_FIELDS = ("mode", "mode_expires_at", "jobs", "orders")
"""Fields of a gate's state that only commands change."""


@dataclass(frozen=True, slots=True)
class FrameIds:
    """The ids that a delivery carries.

    `broker_id` is the broker's own lasting id of the message, if the broker gives one. `generation` is the connection
    that brought the message; a broker delivers a message at most once per connection. `at_ns` is the earliest
    monotonic time at which the message can have been sent.
    """

    frame_id: str | None
    trigger_id: int | None
    part_id: str | None
    sha256: str
    broker_id: str | None = None
    is_redelivered: bool = False
    generation: int = 0
    at_ns: int = 0


class Motion(enum.Enum):
    """How a trigger id moved the counter. `BACK_IN_PLACE`: the id belongs to an earlier part of this epoch."""

    STILL = "still"
    FORWARD = "forward"
    BACK_IN_PLACE = "back_in_place"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class TriggerStep:
    """How a frame moved the counter. `count` keeps rising over wraps. `missed`: the counts that were skipped.

    The frames of skipped counts may still come, so a skipped part is missed only after its grace.
    """

    motion: Motion
    epoch: int
    count: int
    missed: tuple[int, ...] = ()


class TriggerCounter:
    """The trigger count of one gate (or of one camera without a gate). It handles wraps, gaps and resets.

    `modulus` None: the counter never wraps. `max_gap` None: gaps make no missed parts, and a jump forward of any
    length is no reset. A camera without a gate has `max_gap` None. `gaps` keeps the skipped parts of all epochs.
    """

    def __init__(
        self, state: GateState, modulus: int | None, max_gap: int | None, grace: Grace = UNGATED_GRACE
    ) -> None:
        self._state = replace(state, gaps=())
        self._modulus = modulus
        self._max_gap = max_gap
        self._seen: OrderedDict[int, None] = OrderedDict()
        self._missed: OrderedDict[int, None] = OrderedDict()
        self._recorded = _reach(state)
        self._lowest = state.last_trigger
        self._began_ns: int | None = None
        self.gaps = OpenGaps(grace)
        self._adopt_gaps(state, replaces=True)

    @property
    def state(self) -> GateState:
        """The state after the last frame, without the skipped parts, which `gaps` has."""
        return self._state

    @property
    def recorded_state(self) -> GateState:
        """The state after the last frame that has a row. The next agent starts from this state, because the broker
        delivers the frames under way again."""
        epoch, last = self._recorded
        gaps = self.gaps.stored()
        if self._state.epoch > epoch and self._state.last_trigger is None:
            return replace(self._state, gaps=gaps)  # a resync announced this epoch; no frame caused it
        return replace(self._state, epoch=epoch, last_trigger=None if last == NO_TRIGGER else last, gaps=gaps)

    def record(self, key: tuple[int, int, int | None]) -> None:
        """Note that the frame with this (epoch, lap, number) gets its row. Call in the order of delivery."""
        epoch, lap, number = key
        count = NO_TRIGGER if number is None else self.count_of(lap, number)
        self._recorded = max(self._recorded, (epoch, count))
        self.gaps.has_row(epoch, count)

    def adopt(self, stored: GateState) -> None:
        """Take over the stored state if it is further. Counts about holds and `held` are merged in any case."""
        is_behind = _reach(stored) < _reach(self._state)
        watched = watched_fields(*((self._state, stored) if is_behind else (stored, self._state)))
        ordered = max(stored, self._state, key=lambda state: state.orders)
        is_further = _reach(stored) > _reach(self._state)
        if is_further:
            if stored.epoch != self._state.epoch:
                self._forget_epoch()
                self._lowest = stored.last_trigger
            self._state = replace(stored, gaps=())
            self._recorded = max(self._recorded, _reach(stored))
        # Mode and jobs come from the state that has obeyed more commands, even if its count is behind.
        commanded = {name: getattr(ordered, name) for name in COMMANDED_FIELDS}
        self._state = replace(self._state, **commanded, **watched)
        self._adopt_gaps(stored, replaces=is_further)

    def update(self, state: GateState) -> None:
        """Replace mode, jobs and what is known about holds; epoch and count stay as they are."""
        self._state = replace(state, epoch=self._state.epoch, last_trigger=self._state.last_trigger, gaps=())

    def new_epoch(self) -> None:
        """Begin a new epoch. Counts of the old epoch no longer apply; its skipped parts still get their rows."""
        self._state = replace(self._state, epoch=self._state.epoch + 1, last_trigger=None)
        self._forget_epoch()

    @property
    def reached(self) -> int:
        """The last count of this epoch; -1 before the first."""
        return NO_TRIGGER if self._state.last_trigger is None else self._state.last_trigger

    @property
    def modulus(self) -> int | None:
        return self._modulus

    @property
    def max_gap(self) -> int | None:
        return self._max_gap

    def lap(self, count: int) -> int:
        return count // self._modulus if self._modulus else 0

    def number(self, count: int) -> int:
        """The trigger id that the camera sent for this count."""
        return count % self._modulus if self._modulus else count

    def count_of(self, lap: int, number: int) -> int:
        """The count of a trigger id in a lap."""
        return lap * (self._modulus or 0) + number

    def remember(self, count: int) -> None:
        """Note a part of this epoch that an earlier run has seen. Its count may be higher than the stored count."""
        last = self._state.last_trigger
        self.gaps.close(self._state.epoch, count)
        if last is not None and self._is_step_forward(count - last):
            self._skip(range(last + 1, count), None, count)
        self._note(self._seen, count)
        self._lowest = count if self._lowest is None else min(self._lowest, count)
        if last is None or count > last:
            self._state = replace(self._state, last_trigger=count)

    def place(self, number: int, at_ns: int | None = None) -> int:
        """The count of a trigger id of this epoch: of all counts with that id, the count nearest to the last one.

        A count before the wrap is negative in the first lap. It is meant only if it was seen, or if a frame of
        `at_ns` may belong just before the first one.
        """
        count = nearest_count(number, self._state.last_trigger, self._modulus)
        if self._modulus is None or number >= self._modulus or count != number:
            return count
        behind = number - self._modulus
        is_nearer = self._state.last_trigger is not None and self.reached - behind < count - self.reached
        is_there = self._is_of_epoch(behind) or (at_ns is not None and self._is_early(behind, at_ns))
        return behind if is_nearer and is_there else count

    def restart(self, number: int, at_ns: int = 0) -> TriggerStep:
        """Take in the trigger id of an unknown frame that is the first one after a reset."""
        self.new_epoch()
        return replace(self._begin(number, at_ns), motion=Motion.RESET)

    def step(self, number: int, can_be_reset: bool, at_ns: int = 0) -> TriggerStep:
        """Take in the trigger id of an unknown frame. `can_be_reset`: the frame is newer than the last one.

        `at_ns`: the earliest time at which the frame can have been sent.
        """
        last = self._state.last_trigger
        if last is None:
            return self._begin(number, at_ns)
        count = self.place(number, at_ns)
        if count == last or (count < last and self._is_of_epoch(count)):
            self._missed.pop(count, None)
            self._note(self._seen, count)
            self.gaps.close(self._state.epoch, count)
            motion = Motion.STILL if count == last else Motion.BACK_IN_PLACE
            return TriggerStep(motion, self._state.epoch, count)
        if count > last and (self._max_gap is None or self._is_step_forward(count - last)):
            missed = () if self._max_gap is None else self._skip(range(last + 1, count), at_ns, count)
            return self._advance(count, missed)
        if self._is_early(count, at_ns):
            return self._begin_earlier(count, at_ns)
        if not can_be_reset:
            return TriggerStep(Motion.BACK_IN_PLACE, self._state.epoch, count)
        return self.restart(number, at_ns)

    def _begin(self, number: int, at_ns: int) -> TriggerStep:
        """The first frame of an epoch."""
        self._lowest = number
        self._began_ns = at_ns
        return self._advance(number, ())

    def _begin_earlier(self, count: int, at_ns: int) -> TriggerStep:
        """A frame just before the first one of the epoch: the frames came in another order."""
        lowest = count if self._lowest is None else self._lowest
        missed = () if self._max_gap is None else self._skip(range(count + 1, lowest), at_ns, self.reached)
        self._lowest = count
        self._note(self._seen, count)
        return TriggerStep(Motion.BACK_IN_PLACE, self._state.epoch, count, missed)

    def _advance(self, count: int, missed: tuple[int, ...]) -> TriggerStep:
        self._state = replace(self._state, last_trigger=count)
        self._note(self._seen, count)
        return TriggerStep(Motion.FORWARD, self._state.epoch, count, missed)

    def _skip(self, counts: range, at_ns: int | None, by_count: int) -> tuple[int, ...]:
        absent = tuple(count for count in counts if count not in self._seen)
        for count in absent:
            self._note(self._missed, count)
        self.gaps.open(self._state.epoch, absent, at_ns, by_count)
        return absent

    def _is_step_forward(self, ahead: int) -> bool:
        return self._max_gap is not None and 0 < ahead <= self._max_gap + 1

    def _is_of_epoch(self, count: int) -> bool:
        """Whether an earlier part of this epoch has this count: a part that was seen, or one that was skipped."""
        if count in self._seen or count in self._missed:
            return True
        # The memory may have lost a part that was skipped, at the latest with a restart of the agent.
        bound = self.gaps.grace.triggers if self._max_gap is None else self._max_gap
        return self._lowest is not None and self._lowest < count < self.reached and self.reached - count <= bound

    def _is_early(self, count: int, at_ns: int) -> bool:
        """Whether a frame may belong just before the first frame of the epoch and have come after it."""
        if self._began_ns is None or self._lowest is None or count >= self._lowest:
            return False
        grace = self.gaps.grace
        bound = grace.triggers if self._max_gap is None else min(grace.triggers, self._max_gap)
        return self.reached - count <= bound and at_ns - self._began_ns <= grace.duration_ns

    def _forget_epoch(self) -> None:
        self._seen.clear()
        self._missed.clear()
        self._lowest = self._began_ns = None

    def _adopt_gaps(self, stored: GateState, *, replaces: bool) -> None:
        self.gaps.adopt(stored.gaps, self.reached, replaces=replaces)
        for gap in stored.gaps:
            if gap.epoch == self._state.epoch:
                for count in range(gap.first, gap.last + 1):
                    if count not in self._seen:
                        self._note(self._missed, count)

    @staticmethod
    def _note(memory: OrderedDict[int, None], count: int) -> None:
        memory[count] = None
        memory.move_to_end(count)
        while len(memory) > REMEMBERED_TRIGGERS:
            memory.popitem(last=False)


def _reach(state: GateState) -> tuple[int, int]:
    """The progress of a counter: a pair (epoch, count) that keeps rising over wraps and resets."""
    return state.epoch, NO_TRIGGER if state.last_trigger is None else state.last_trigger


def nearest_count(number: int, last: int | None, modulus: int | None) -> int:
    """Of all counts with this trigger id, the count nearest to `last`, the last count of its epoch (None: none yet)."""
    if modulus is None or last is None:
        return number
    ahead = (number - last) % modulus
    return last + ahead if ahead <= modulus // 2 else max(number, last + ahead - modulus)


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
        # By result id: the SHA-256, and the connection that last brought the frame (None: an earlier run's connection).
        self._unacknowledged: OrderedDict[ResultId, tuple[str, int | None]] = OrderedDict()
        self._by_broker: OrderedDict[ResultId, None] = OrderedDict()

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
                self._expect_again(sighting.result_id, key.sha256, None)

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
            self._expect_again(key.result_id, key.sha256, ids.generation)
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

    def acknowledged(self, result_id: ResultId) -> None:
        """Note that the broker will not deliver this frame again: a later delivery with equal bytes is a new frame."""
        self._unacknowledged.pop(result_id, None)

    def _find(self, ids: FrameIds) -> ResultId | None:
        if ids.frame_id is None and ids.trigger_id is None:
            return self._find_weak(ids)
        epoch = self._counter.state.epoch
        count = None if ids.trigger_id is None else self._counter.place(ids.trigger_id)
        # Frames of the previous epoch are looked up by number alone, because that epoch's lap is no longer known.
        for place in ((epoch, ids.frame_id, count, ids.sha256), (epoch - 1, ids.frame_id, ids.trigger_id, ids.sha256)):
            if place in self._known:
                return self._known[place]
        return None

    def _find_weak(self, ids: FrameIds) -> ResultId | None:
        if ids.broker_id is not None:
            result_id = self._make_key(ids, self._counter.state.epoch, None).result_id
            return result_id if result_id in self._by_broker else None
        if not ids.is_redelivered:
            return None
        for result_id, (sha, generation) in self._unacknowledged.items():
            # A connection brings each message once, so equal bytes on the same connection are another frame.
            if sha == ids.sha256 and generation != ids.generation:
                self._unacknowledged[result_id] = (sha, ids.generation)
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
        if key.nonce:
            self._by_broker[result_id] = None
            while len(self._by_broker) > self._bound:
                self._by_broker.popitem(last=False)
            return
        # Also under the plain number: `_find` looks a frame up by this number when the frame's epoch is over.
        for place in {
            (key.epoch, key.frame_id, count, key.sha256),
            (key.epoch, key.frame_id, key.trigger_id, key.sha256),
        }:
            self._known[place] = result_id
        for name in self._names(key, count):
            self._bytes_of_id.setdefault((key.epoch, name), key.sha256)
        while len(self._known) > 2 * self._bound:
            self._known.popitem(last=False)
        while len(self._bytes_of_id) > 2 * self._bound:
            self._bytes_of_id.popitem(last=False)

    def _expect_again(self, result_id: ResultId, sha256: str, generation: int | None) -> None:
        self._unacknowledged[result_id] = (sha256, generation)
        while len(self._unacknowledged) > self._bound:
            self._unacknowledged.popitem(last=False)

    def _count_of(self, key: FrameKey) -> int | None:
        if key.trigger_id is None:
            return None
        return self._counter.count_of(key.lap, key.trigger_id)
