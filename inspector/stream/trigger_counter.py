"""The trigger count of a gate: wraps, gaps and resets. Pure; the rules are in `identity`."""

from __future__ import annotations

import enum
from collections import OrderedDict
from dataclasses import dataclass, replace

from inspector.domain import GateState
from inspector.stream.gaps import UNGATED_GRACE, Grace, OpenGaps
from inspector.stream.gate_merging import COMMANDED_FIELDS, watched_fields
from inspector.stream.handover import followed

REMEMBERED_TRIGGERS = 4096
REMEMBERED_EPOCHS = 256
"""Epochs of this run that `has_had` knows. Each later question about an older one goes to the ledger."""

NO_TRIGGER = -1
"""Count of an epoch in which no trigger has come yet; lower than every other count."""


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
        self._epochs: OrderedDict[int, None] = OrderedDict()
        self._note_epoch(state.epoch)
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

    def has_had(self, epoch: int) -> bool:
        """Whether this is one of the newest epochs of this run, or agents with other ledgers have begun it.

        A counter that lies apart from another camera's begins an epoch with each frame, so only `REMEMBERED_EPOCHS`
        are known here. The ledger knows each one of which anything is stored.
        """
        return epoch in self._epochs or any(first <= epoch <= last for first, last in self._state.elsewhere)

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
            self._note_epoch(stored.epoch)
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
        self._begin_epoch(self._state.epoch + 1, self._state.epoch_of)

    def follow(self, owner: GateState, agent: str) -> bool:
        """Take over what the gate's owner told while this agent, named `agent`, waits for the gate.

        Returns whether the epoch is the owner's own: then a number of this epoch names the same part for both. An
        epoch never goes back, so it is not while this agent has counted further than the owner.
        """
        is_unused = owner.epoch == self._state.epoch and self._state.last_trigger is None
        if owner.epoch > self._state.epoch:
            self._begin_epoch(owner.epoch, owner.epoch_of)
        elif is_unused:
            self._state = replace(self._state, epoch_of=owner.epoch_of)
        self.update(followed(self._state, owner, agent))
        is_same = (owner.epoch, owner.epoch_of) == (self._state.epoch, self._state.epoch_of)
        return is_same and owner.epoch_of != ""

    def take_over(self, epoch: int, identity: str, *, has_ledger: bool) -> None:
        """Begin this epoch after another agent.

        Parts that were skipped while that agent had the gate are its own to account for, unless its ledger is this
        agent's too.
        """
        if not has_ledger:
            self.gaps.forget(self._state.epoch)
        self._begin_epoch(epoch, identity)

    def resume(self, told: GateState) -> None:
        """Add what an earlier run of this agent told last, which may be newer than what was stored."""
        if told.epoch > self._state.epoch:
            self._begin_epoch(told.epoch, told.epoch_of)
        ordered = max(self._state, told, key=lambda state: state.orders)
        commanded = {name: getattr(ordered, name) for name in COMMANDED_FIELDS}
        self.update(replace(self._state, **commanded, **watched_fields(self._state, told)))

    def name_epoch(self, identity: str) -> None:
        """Note that the epoch is this agent's, if nobody's was noted before."""
        if not self._state.epoch_of:
            self._state = replace(self._state, epoch_of=identity)

    def _begin_epoch(self, epoch: int, identity: str) -> None:
        self._state = replace(self._state, epoch=epoch, last_trigger=None, epoch_of=identity)
        self._note_epoch(epoch)
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

    def _note_epoch(self, epoch: int) -> None:
        self._epochs[epoch] = None
        self._epochs.move_to_end(epoch)
        if len(self._epochs) > REMEMBERED_EPOCHS:
            self._epochs.popitem(last=False)

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
