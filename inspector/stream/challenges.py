"""The rules of a golden challenge: which parts are reference parts, and when it is passed or failed. Pure.

A reference part is right when its outcome is the expected one, its decision was sent in time, and the PLC has
acknowledged its reject as seen by the sensor. Every acknowledgement counts, also a second one of the same part. The
first thing that is wrong fails the challenge.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from inspector.domain import Challenge, GateAction, Master, MasterAck, Outcome, SeenMaster, Verdict
from inspector.stream.gates import PartKey

REJECTED, PASSED, BY_DECISION, SEEN = 2, 1, 1, 1
"""Numbers of an acknowledgement: act 2 and 1, src 1, done 1."""


@dataclass(slots=True)
class _Shown:
    """One part that was shown as a reference part, with the verdicts of its views by camera.

    `acks`: what the PLC said of it, each different acknowledgement once, in the order in which they came.
    """

    part: PartKey
    master: Master
    number: int
    part_id: str | None
    views: dict[str, Verdict] = field(default_factory=dict)
    is_to_be_told: bool = False
    told: bool | None = None
    acks: list[MasterAck] = field(default_factory=list)

    def verdict(self, cameras: int) -> Verdict | None:
        """The verdict that decides: a reject of any view, else the worst of all views; None while views are open."""
        rejects = [view for view in self.views.values() if view.outcome is Outcome.REJECT]
        if rejects:
            return rejects[0]
        if len(self.views) < cameras:
            return None
        return next((view for view in self.views.values() if view.outcome is not Outcome.PASS), self._any())

    def _any(self) -> Verdict:
        return next(iter(self.views.values()))


class ChallengeRun:
    """A challenge under way. `cameras`: how many look at a part of the gate."""

    def __init__(self, challenge: Challenge, *, cameras: int, needs_ack: bool, deadline_ns: int) -> None:
        self.deadline_ns = deadline_ns
        self._challenge = challenge
        self._cameras = cameras
        self._needs_ack = needs_ack
        self._shown: dict[PartKey, _Shown] = {}
        self._is_in_order = all(master.part_id is None for master in challenge.expected)
        self._fault: str | None = None

    @property
    def challenge(self) -> Challenge:
        """The challenge with everything that was seen so far."""
        shown = list(self._shown.values())
        versions = {view.product_version for each in shown for view in each.views.values()} - {None}
        products = {view.product for each in shown for view in each.views.values()} - {None}
        return replace(
            self._challenge,
            product=self._challenge.product or (next(iter(products)) if len(products) == 1 else None),
            version=next(iter(versions)) if len(versions) == 1 else None,
            seen=tuple(seen for each in shown if (seen := self._seen(each)) is not None),
            acks=tuple(ack for each in shown for ack in each.acks),
        )

    @property
    def fault(self) -> str | None:
        """The first thing that was wrong; None so far."""
        return self._fault

    @property
    def has_all_masters(self) -> bool:
        """Whether each reference part was shown, right or wrong: any further part is an ordinary one."""
        return len(self._shown) == len(self._challenge.expected)

    @property
    def is_telling(self) -> bool:
        """Whether a decision about a part that was seen is still on its way to the gate."""
        return any(each.told is None and each.verdict(self._cameras) is not None for each in self.parts())

    def end_telling(self) -> None:
        """The time of all decisions is over: what did not reach the broker by now did not reach it in time."""
        for shown in self.parts():
            shown.told = shown.told is True

    @property
    def is_passed(self) -> bool:
        """Whether each reference part is right, told and acknowledged."""
        return self._fault is None and self.has_all_masters and all(self._is_done(each) for each in self.parts())

    def parts(self) -> list[_Shown]:
        return list(self._shown.values())

    def progress(self) -> str:
        """How far it came, for a person."""
        expected = self._challenge.expected
        rejects = sum(master.expected is Outcome.REJECT for master in expected)
        acked = sum(bool(each.acks) and each.master.expected is Outcome.REJECT for each in self.parts())
        said = f"{len(self._shown)} of {len(expected)} reference parts came"
        return f"{said}, {acked} of {rejects} rejects were acknowledged" if self._needs_ack else said

    def takes(self, part: PartKey, part_id: str | None) -> bool:
        """Whether this part is a reference part of the challenge. The first view of a part decides for the others."""
        if part in self._shown:
            return True
        master = self._next(part_id)
        if master is None or self._fault is not None:
            return False
        number = len(self._shown) + 1
        self._shown[part] = _Shown(part, master, number, part_id)
        return True

    def judged(self, part: PartKey, verdict: Verdict, *, is_to_be_told: bool) -> None:
        """Note the verdict on one view of a part. `is_to_be_told`: its decision is sent after this."""
        shown = self._shown.get(part)
        if shown is None:
            return
        shown.views[verdict.camera] = verdict
        shown.is_to_be_told = shown.is_to_be_told or is_to_be_told
        decided = shown.verdict(self._cameras)
        if decided is not None and shown.told is None and not shown.is_to_be_told:
            shown.told = False
        if decided is not None:
            self._check(shown, decided)

    def told(self, result_id: str, is_published: bool) -> None:
        """Note whether the decision of this result reached the broker in time."""
        for shown in self.parts():
            if any(view.result_id == result_id for view in shown.views.values()):
                shown.told = is_published
                if not is_published:
                    self._fail(f"the decision about {_name(shown)} could not be sent in time")

    def heard(self, action: GateAction) -> None:
        """Note the PLC's report on a part. A report that contradicts an earlier one is kept beside it."""
        shown = self._acknowledged(action)
        if shown is None:
            return
        ack = MasterAck(action.epoch, action.trigger_id, action.action, action.source, action.done)
        if ack in shown.acks:
            return  # the same again says nothing new
        shown.acks.append(ack)
        wanted = (REJECTED, BY_DECISION, SEEN) if shown.master.expected is Outcome.REJECT else None
        done_as = (ack.action, ack.source, ack.done)
        is_right = done_as == wanted if wanted is not None else done_as[:2] == (PASSED, BY_DECISION)
        if self._needs_ack and not is_right:
            after = f", after {_said(shown.acks[0])}" if len(shown.acks) > 1 else ""
            self._fail(f"the PLC acknowledged {_name(shown)} with {_said(ack)}{after}")

    def _next(self, part_id: str | None) -> Master | None:
        """The reference part that comes next, or the one with this part id; None for an ordinary part."""
        if self._is_in_order:
            expected = self._challenge.expected
            return expected[len(self._shown)] if len(self._shown) < len(expected) else None
        taken = {each.part_id for each in self.parts()}
        wanted = (master for master in self._challenge.expected if master.part_id == part_id)
        return None if part_id in taken else next(wanted, None)

    def _check(self, shown: _Shown, verdict: Verdict) -> None:
        product, expected = self._challenge.product, shown.master.expected
        versions = {view.product_version for each in self.parts() for view in each.views.values()} - {None}
        if verdict.outcome is not expected:
            came_as = f"{verdict.outcome.value} ({verdict.cause.value})"
            self._fail(f"{_name(shown)} should be {expected.value} and is {came_as}")
        elif product is not None and verdict.product != product:
            self._fail(f"{_name(shown)} shows {verdict.product or 'no known product'}, not {product}")
        elif len(versions) > 1:
            self._fail("another version of the product became live in the middle of it")

    def _acknowledged(self, action: GateAction) -> _Shown | None:
        """The part that a report is about; None for an ordinary part.

        Where parts have numbers, the report names its part. Elsewhere it is about the frame before it. If no frame came
        since the report before, it is about the first part that was decided and not acknowledged; if there is none, it
        is one more report on the last part.
        """
        named = [each for each in self.parts() if _number(each.part) == (action.epoch, action.trigger_id)]
        if action.result_id is not None and any(each.part.solo for each in named):
            return next((each for each in named if each.part.solo == action.result_id), None)
        for shown in named:
            if not shown.part.solo:
                return shown
            if not shown.acks and shown.verdict(self._cameras) is not None:
                return shown
        acknowledged = [each for each in named if each.acks]
        return acknowledged[-1] if acknowledged else None

    def _is_done(self, shown: _Shown) -> bool:
        is_confirmed = bool(shown.acks) or not self._needs_ack or shown.master.expected is not Outcome.REJECT
        return shown.verdict(self._cameras) is not None and shown.told is True and is_confirmed

    def _seen(self, shown: _Shown) -> SeenMaster | None:
        verdict = shown.verdict(self._cameras)
        if verdict is None:
            return None
        return SeenMaster(
            epoch=shown.part.epoch,
            trigger_id=verdict.trigger_id,
            part_id=shown.part_id,
            outcome=verdict.outcome,
            cause=verdict.cause.value,
            result_id=verdict.result_id,
            told=shown.told,
        )

    def _fail(self, why: str) -> None:
        self._fault = self._fault or why


def _name(shown: _Shown) -> str:
    return f"reference part {shown.number}" if shown.part_id is None else f"reference part {shown.part_id}"


def _number(part: PartKey) -> tuple[int, int]:
    return part.epoch, part.number


def _said(ack: MasterAck) -> str:
    return f"act {ack.action}, src {ack.source}, done {ack.done}"
