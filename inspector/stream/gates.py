"""The decisions that are sent to a gate about a part: once, in time, and never better than the part's worst view.

Pure: times are monotonic nanoseconds passed in. A part is (gate, epoch, lap, trigger number). Its
views are joined by trigger id. The first view that rejects sends a reject at once; any other decision
waits for all views or for the deadline. A later decision on a part can only be worse: a reject
replaces a pass, never the reverse, and no decision is sent twice.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from inspector.config.line_sections import GateSection
from inspector.domain import Action, Admitted, Cause, Decision, GateMode, ResultId, Verdict

SEVERITY: dict[Action, int] = {Action.NONE: 0, Action.PASS: 1, Action.QUARANTINE: 2, Action.REJECT: 3}

UNTOLD_CAUSES = frozenset({Cause.NOT_RECEIVED, Cause.BYPASS})


@dataclass(frozen=True, slots=True, order=True)
class PartKey:
    """Names a part. `number`: the trigger id as the camera sent it. `solo`: the result id, for a part without one."""

    epoch: int
    lap: int
    number: int
    solo: str = ""


@dataclass(slots=True)
class _Part:
    act_before: datetime
    act_before_ns: int
    decide_by_ns: int
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    told: Action = Action.NONE
    is_closed: bool = False


@dataclass(frozen=True, slots=True)
class MissingView:
    """A view of a part that had not come when the part had to be decided. `act_before`: the part's own time."""

    camera: str
    part: PartKey
    act_before: datetime


class Gate:
    """The parts of one gate that are under way, and the decisions sent to the gate about the latest parts."""

    def __init__(self, section: GateSection, remembered: int = 4096) -> None:
        self._section = section
        self._remembered = remembered
        self._parts: OrderedDict[PartKey, _Part] = OrderedDict()
        self._undecided: dict[PartKey, _Part] = {}
        self._told_before: dict[PartKey, Action] = {}
        self._oldest_epoch = 0

    @property
    def name(self) -> str:
        return self._section.name

    def remember(self, told: Iterable[tuple[int, int, int, Action]]) -> None:
        """Take what the gate was told before this run: epoch, lap, number and action of parts. It replaces the last."""
        self._told_before = {PartKey(epoch, lap, number): action for epoch, lap, number, action in told}

    @property
    def cameras(self) -> Sequence[str]:
        """The cameras whose views make a part."""
        return self._section.cameras

    def decide_by_ns(self, admitted: Admitted) -> int | None:
        """When this frame must be decided to leave time for publishing and transport. None: it has no window."""
        if admitted.act_before_ns is None:
            return None
        return admitted.act_before_ns - int((self._section.window_ms - self._section.judging_ms) * 1e6)

    def part_of(self, admitted: Admitted) -> PartKey | None:
        """The part that a frame shows; None for a frame without the trigger id that this gate needs."""
        key = admitted.key
        if key.trigger_id is not None:
            return PartKey(key.epoch, key.lap, key.trigger_id)
        if self._section.match == "single_in_flight":
            return PartKey(key.epoch, 0, 0, solo=key.result_id)
        return None

    def open(self, admitted: Admitted) -> int | None:
        """Note that a view of a part has come. Returns when it must be decided; None: it has no deadline.

        The part has the earliest deadline of its views: one of them may prove that the part came earlier.
        """
        key = self.part_of(admitted)
        decide_by_ns = self.decide_by_ns(admitted)
        if not may_be_told(admitted):
            return None
        if key is None or decide_by_ns is None or admitted.act_before is None or admitted.act_before_ns is None:
            return decide_by_ns
        if key not in self._parts:
            told = self._told_before.get(key, Action.NONE)
            part = _Part(admitted.act_before, admitted.act_before_ns, decide_by_ns, told=told)
            self._parts[key] = self._undecided[key] = part
            while len(self._parts) > self._remembered:
                forgotten, _ = self._parts.popitem(last=False)
                self._undecided.pop(forgotten, None)
        part = self._parts[key]
        if admitted.act_before_ns < part.act_before_ns:
            part.act_before, part.act_before_ns = admitted.act_before, admitted.act_before_ns
        part.decide_by_ns = min(part.decide_by_ns, decide_by_ns)
        undecided = self._undecided.get(key)
        # The part has been decided, so its deadline no longer applies: a later view is judged for the record.
        return decide_by_ns if undecided is None else min(decide_by_ns, undecided.decide_by_ns)

    def judged(self, admitted: Admitted, verdict: Verdict) -> Decision | None:
        """The decision that this verdict calls for; None if the gate needs no new decision."""
        key = self.part_of(admitted)
        part = self._parts.get(key) if key is not None else None
        if key is None or part is None or not may_be_told(admitted):
            return None
        if verdict.cause in UNTOLD_CAUSES or verdict.action is Action.NONE:
            # The other views may come in another mode, and they alone are not enough to judge the part.
            part.is_closed = True
            self._undecided.pop(key, None)
        if part.is_closed:
            return None
        known = part.verdicts.get(verdict.camera)
        if known is None or SEVERITY[verdict.action] > SEVERITY[known.action]:
            part.verdicts[verdict.camera] = verdict
        is_complete = len(part.verdicts) == len(self._section.cameras)
        worst = max(part.verdicts.values(), key=_how_bad)
        if not (is_complete or key not in self._undecided or worst.action is Action.REJECT):
            return None
        return self._tell(key, part, worst)

    def expire(self, now_ns: int) -> list[MissingView]:
        """The missing views of parts whose deadline has come. Every part is returned once only."""
        expired = [key for key, part in self._undecided.items() if part.decide_by_ns <= now_ns]
        missing: list[MissingView] = []
        for key in expired:
            part = self._undecided.pop(key)
            absent = [camera for camera in self._section.cameras if camera not in part.verdicts]
            missing.extend(MissingView(camera, key, part.act_before) for camera in absent)
        return missing

    def next_expiry_ns(self) -> int | None:
        """The next deadline of an undecided part; None if all parts are decided."""
        return min((part.decide_by_ns for part in self._undecided.values()), default=None)

    def missing_view(self, key: PartKey, verdict: Verdict) -> Decision | None:
        """Note the verdict on a view that never came. Returns the part's decision if this verdict completes it."""
        part = self._parts[key]
        part.verdicts[verdict.camera] = verdict
        worst = max(part.verdicts.values(), key=_how_bad)
        if len(part.verdicts) < len(self._section.cameras):
            return None
        return self._tell(key, part, worst)

    def forget_epochs_before(self, epoch: int) -> None:
        """Drop the parts of older epochs after a resync, with their decisions that are not sent yet."""
        self._oldest_epoch = max(self._oldest_epoch, epoch)
        for key in [key for key in self._parts if key.epoch < epoch]:
            del self._parts[key]
            self._undecided.pop(key, None)

    def is_dropped(self, decision: Decision) -> bool:
        """Whether a resync came after this decision was made, so that the PLC no longer knows its part."""
        return decision.epoch < self._oldest_epoch

    def _tell(self, key: PartKey, part: _Part, worst: Verdict) -> Decision | None:
        if SEVERITY[worst.action] <= SEVERITY[part.told]:
            return None
        part.told = worst.action
        if len(part.verdicts) == len(self._section.cameras):
            self._undecided.pop(key, None)
        return Decision(
            gate=self.name,
            epoch=key.epoch,
            trigger_id=key.number,
            action=worst.action,
            cause=worst.cause,
            result_id=ResultId(worst.result_id),
            act_before=part.act_before,
            act_before_ns=part.act_before_ns,
            lap=key.lap,
            in_flight=bool(key.solo),
        )


def _how_bad(verdict: Verdict) -> tuple[int, bool]:
    """Order of the verdicts of one part. A pass by policy of a view that was not judged speaks for the part."""
    return SEVERITY[verdict.action], verdict.cause is not Cause.OK


def may_be_told(admitted: Admitted) -> bool:
    """False for simulated, backlog and late frames: a gate gets no decision about them.

    False also for parts in mode golden, except the reference parts of a challenge.
    """
    is_golden = admitted.standing.mode is GateMode.GOLDEN and not admitted.standing.is_master
    return not (admitted.simulated or admitted.delivery.backlog or admitted.is_late or is_golden)
