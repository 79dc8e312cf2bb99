"""The slot rule of `docs/gate.md`: what a PLC keeps for each part between camera and gate.

Pure. A slot holds the gate's default until a decision takes it; after that only a worse action replaces it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from tests.plc.wire import BY_DECISION, BY_DEFAULT, PASS, QUARANTINE, REJECT, Decision

SEVERITY = {PASS: 1, QUARANTINE: 2, REJECT: 3}


class Effect(enum.StrEnum):
    """What a decision did to the slots."""

    TAKEN = "taken"
    REPEATED = "repeated"
    KEPT = "kept"
    """The slot held something worse, which stays."""
    DROPPED = "dropped"
    """No slot of that epoch and trigger is open, or the action is none."""


@dataclass(slots=True)
class Slot:
    """One part. `decided` None: no decision came, the gate's default stands."""

    epoch: int
    trigger: int
    part: int
    decided: int | None = None

    def take(self, action: int) -> Effect:
        if action not in SEVERITY:
            return Effect.DROPPED
        if self.decided == action:
            return Effect.REPEATED
        if self.decided is not None and SEVERITY[action] < SEVERITY[self.decided]:
            return Effect.KEPT
        self.decided = action
        return Effect.TAKEN

    def outcome(self, default: int, *, is_ready: bool) -> tuple[int, int]:
        """Action and source: the decision where one came and the agent is ready, else the default."""
        if self.decided is None or not is_ready:
            return default, BY_DEFAULT
        return self.decided, BY_DECISION


@dataclass(slots=True)
class Slots:
    """The parts that are under way now."""

    _open: dict[tuple[int, int], Slot] = field(default_factory=dict)

    def open(self, epoch: int, trigger: int, part: int) -> Slot:
        """The trigger of a part: its slot is open from now on, in the epoch of the last heartbeat."""
        slot = Slot(epoch, trigger, part)
        self._open[epoch, trigger] = slot
        return slot

    def decide(self, decision: Decision) -> tuple[Effect, Slot | None]:
        """What the decision did, and to which slot; None where it found none open."""
        slot = self._open.get((decision.epoch, decision.trigger))
        return (Effect.DROPPED, None) if slot is None else (slot.take(decision.action), slot)

    def close(self, slot: Slot) -> None:
        """The part has reached the gate."""
        if self._open.get((slot.epoch, slot.trigger)) is slot:
            del self._open[slot.epoch, slot.trigger]
