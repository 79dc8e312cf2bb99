"""Runs golden challenges: a person shows reference parts, and the gate must treat each of them rightly.

While a challenge is under way the gate's mode is golden, and only reference parts are told to the gate. A challenge
that is passed is stored before the mode returns to auto. One that fails, runs out of time, or loses its agent leaves
the gate held: its parts are `not_released` until a challenge is passed or a person releases it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from inspector.config.line_sections import GateSection
from inspector.domain import (
    UNRELEASED,
    Admitted,
    Challenge,
    ChallengeResult,
    CommandName,
    Decision,
    FrameFacts,
    GateAction,
    GateMode,
    GateState,
    HeldFor,
    Severity,
    Verdict,
)
from inspector.errors import CommandRefused, LedgerUnavailable
from inspector.ports import CommandChannel, Ledger
from inspector.stream.challenge_record import challenge_record
from inspector.stream.challenges import ChallengeRun
from inspector.stream.commands import Command
from inspector.stream.gates import PartKey
from inspector.stream.golden_duties import Made, due_for, has_duties
from inspector.stream.pipeline.owning import Owning
from inspector.stream.pipeline.ticket import Shared, Signal
from inspector.stream.storms import hold, hold_words, release
from inspector.stream.verdict_record import format_time

TICK_S: Final = 0.25
RETRY_S: Final = 1.0

TELLING_S: Final = 1.0
"""Time beyond the window after which a decision counts as not told, if nobody has said what became of it."""

RESTARTED: Final = "the agent was stopped in the middle of it"
TAKEN_OVER: Final = "another agent took the gate over in the middle of it"


@dataclass(frozen=True, slots=True)
class _Failed:
    """A failed challenge that the ledger has not taken yet. `run`: it may still learn what the gate was told.

    `was`: what the ledger has of it, `passed` where it failed while that was being stored.
    """

    challenge: Challenge
    run: ChallengeRun | None = None
    until_ns: int = 0
    was: ChallengeResult = ChallengeResult.OPEN


class Challenging:
    """The challenges of the gates that this agent has. One task runs `run`; everything else never waits."""

    def __init__(
        self,
        shared: Shared,
        ledger: Ledger,
        channel: CommandChannel | None,
        products: Callable[[], tuple[str, ...]],
        versions: Callable[[], Sequence[str] | None],
        owning: Owning,
    ) -> None:
        self._shared = shared
        self._owning = owning
        self._ledger = ledger
        self._channel = channel
        self._products = products
        self._versions = versions
        self._unstored: set[str] = set()  # gates whose state was changed by a duty
        self._runs: dict[str, ChallengeRun] = {}
        self._ended: list[_Failed] = []
        self._being_passed: str | None = None  # the gate whose challenge is being stored as passed
        self._has_news = Signal()
        shared.ack_listeners.append(self._hear)
        owning.succession.listeners.append(self._fail_abandoned)

    def plan(self, command: Command, owner: str, state: GateState) -> Challenge:
        """The challenge that a command orders. Raises CommandRefused where it can't be held."""
        if owner not in self._shared.gates:
            raise CommandRefused(f"{owner} is a camera without a gate; a challenge needs a gate that rejects.")
        if self._being_passed == owner:
            raise CommandRefused(f"The end of a challenge of {owner} is being stored; send it again in a moment.")
        if state.held and state.held_for not in UNRELEASED:
            raise CommandRefused(f"The gate {owner} is {hold_words(state)}; release it first.")
        product = command.product or self._made(owner).product
        if product is not None and product not in self._products():
            raise CommandRefused(f"No version of {product} is live, so its reference parts can't pass.")
        return Challenge(
            challenge_id=command.cmd_id,
            gate=owner,
            agent=self._shared.config.agent.name,
            by=command.by,
            reason=command.reason,
            begun=self._shared.clock.now(),
            within_s=command.within_s or 0.0,
            expected=command.masters,
            product=product,
        )

    def begin(self, challenge: Challenge) -> None:
        """Start a challenge that is stored, together with the gate's state of `opened`."""
        section = self._shared.section_of(challenge.gate)
        self._runs[challenge.gate] = ChallengeRun(
            challenge,
            cameras=len(section.cameras),
            needs_ack=section.golden_acks,
            deadline_ns=self._shared.clock.monotonic_ns() + int(challenge.within_s * 1e9),
        )

    def end_unbegun(self, challenge: Challenge, why: str) -> None:
        """Store that a challenge failed that this agent does not hold, or no longer."""
        self._ended.append(_Failed(self._ended_as(challenge, ChallengeResult.FAILED, why), None, 0))

    def arrived(self, gate: str, part: PartKey | None, admitted: Admitted) -> bool:
        """Whether this frame shows a reference part of the challenge under way.

        Called first when the frame has come, so that parts have their places in the order in which they were shown.
        Frames are judged side by side, and the second may be ready first.
        """
        run = self._runs.get(gate)
        is_waiting = admitted.delivery.backlog  # it may have been shown before the challenge began
        if not admitted.standing.is_master or run is None or part is None or is_waiting:
            return False
        is_taken = run.takes(part, admitted.key.part_id)
        self._note_collecting(gate, run)
        return is_taken

    def settled_facts(self, gate: str, part: PartKey | None, facts: FrameFacts) -> FrameFacts:
        """The facts of a frame in mode golden; a frame that is no reference part of the challenge is marked so."""
        if not facts.admitted.standing.is_master or self.arrived(gate, part, facts.admitted):
            return facts
        return replace(facts, admitted=_without_master(facts.admitted))

    def judged(self, gate: str, part: PartKey | None, verdict: Verdict, decision: Decision | None) -> None:
        """Note a verdict in mode golden, and the decision that is sent after it."""
        run = self._runs.get(gate)
        if run is not None and part is not None:
            run.judged(part, verdict, is_to_be_told=decision is not None)
            self._look_at(run)

    def told(self, decision: Decision, is_published: bool) -> None:
        """Note whether a decision reached the broker in time."""
        run = self._runs.get(decision.gate)
        if run is not None:
            run.told(decision.result_id, is_published)
            self._look_at(run)
        for failed in self._ended:
            if failed.run is not None and failed.challenge.gate == decision.gate:
                failed.run.told(decision.result_id, is_published)
                self._has_news.set()

    async def run(self) -> None:
        """End challenges that are passed, failed or out of time, until cancelled."""
        while True:
            for section in self._shared.config.gate:
                if self._owning.owns(section.name):
                    self._fail_abandoned(section.name)
            self._check_duties()
            for gate, run in list(self._runs.items()):
                if self._owning.is_anothers(gate):
                    self._give_up(run)
                else:
                    await self._judge(gate, run)
            await self._store_ended()
            await self._store_states()
            await self._has_news.wait(TICK_S if not self._ended else RETRY_S)

    def settled(self, gate: str, state: GateState) -> GateState:
        """The state of a gate at which no challenge is due any more: one was passed, or a person released the gate."""
        made = self._made(gate)
        golden = replace(
            state.golden,
            settled_at=self._shared.clock.now(),
            product=made.product,
            versions=tuple(made.versions or ()) if self._shared.section_of(gate).golden_after_activation else (),
            due_at=None,
            due_for=None,
        )
        return replace(state, golden=golden, watched=state.watched + 1)

    def _made(self, gate: str) -> Made:
        """What the gate's line makes next: the product of its job, or the only one that its cameras may show."""
        counter = self._shared.admission.counter(gate)
        job = counter.state.job_of(counter.state.epoch, counter.reached + 1)
        shown = {self._shared.config.camera_named(camera).product for camera in self._shared.section_of(gate).cameras}
        product = job.product if job is not None and job.product is not None else None
        if product is None and len(shown) == 1:
            product = shown.pop()
        return Made(product, self._versions())

    def _check_duties(self) -> None:
        """Note each challenge that is due now, and hold the gates at which one is overdue."""
        for section in self._shared.config.gate:
            counter = self._shared.admission.counter(section.name)
            state, now = counter.state, self._shared.clock.now()
            is_served = any(self._shared.serves(camera) for camera in section.cameras)
            is_over = state.golden.challenge is not None or state.held_for in UNRELEASED
            if not has_duties(section) or not is_served or is_over or not self._owning.owns(section.name):
                continue
            if state.golden.due_at is None:
                why = due_for(state.golden, section, self._made(section.name), now)
                if why is None:
                    continue
                self._note_due(section, why)
            due_at = counter.state.golden.due_at or now
            if now >= due_at + timedelta(minutes=section.golden_within_min) and not counter.state.held:
                self._hold_missing(section.name)

    def _note_due(self, section: GateSection, why: str) -> None:
        counter, now = self._shared.admission.counter(section.name), self._shared.clock.now()
        golden = replace(counter.state.golden, due_at=now, due_for=why)
        counter.update(replace(counter.state, golden=golden, watched=counter.state.watched + 1))
        detail = f"a golden challenge is due for {why}; the gate is held if none is passed"
        self._shared.event(
            "golden_due", Severity.WARNING, section.name, f"{detail} within {section.golden_within_min:g} min"
        )
        self._unstored.add(section.name)

    def _hold_missing(self, gate: str) -> None:
        counter = self._shared.admission.counter(gate)
        counter.update(self._held(counter.state, HeldFor.GOLDEN_MISSING))
        why = counter.state.golden.due_for
        detail = (
            f"no golden challenge was passed for {why}; the gate is held until one is, or until the command release"
        )
        self._shared.event("golden_missing", Severity.ALARM, gate, detail)
        self._unstored.add(gate)

    async def _store_states(self) -> None:
        for gate in sorted(self._unstored):
            try:
                await self._ledger.record([], [], [self._shared.admission.counter(gate).recorded_state])
            except LedgerUnavailable:
                return
            self._unstored.discard(gate)

    def _hear(self, action: GateAction) -> None:
        run = self._runs.get(action.gate)
        if run is not None:
            run.heard(action)
            self._look_at(run)

    def _look_at(self, run: ChallengeRun) -> None:
        if run.fault is not None:
            self._fail(run.challenge, run.fault, run)
        if run.fault is not None or run.is_passed:
            self._has_news.set()

    def _note_collecting(self, gate: str, run: ChallengeRun) -> None:
        counter = self._shared.admission.counter(gate)
        if run.has_all_masters and counter.state.golden.is_collecting:
            golden = replace(counter.state.golden, is_collecting=False)
            counter.update(replace(counter.state, golden=golden, watched=counter.state.watched + 1))

    async def _judge(self, gate: str, run: ChallengeRun) -> None:
        if run.is_passed:
            await self._pass(gate, run)
        elif self._shared.clock.monotonic_ns() >= run.deadline_ns:
            within_s = run.challenge.within_s
            self._fail(run.challenge, f"it was not complete within {within_s:g} s: {run.progress()}", run)

    async def _pass(self, gate: str, run: ChallengeRun) -> None:
        """Store it, then return to auto. While the ledger is away the gate stays in mode golden."""
        counter = self._shared.admission.counter(gate)
        challenge = self._ended_as(run.challenge, ChallengeResult.PASSED, run.progress())
        is_recorded: bool | None
        after = passed(self.settled(gate, counter.recorded_state))
        self._being_passed = gate
        try:
            is_recorded = await self._ledger.record_challenge(challenge, after)
        except LedgerUnavailable:
            is_recorded = None  # nobody knows: its answer may have been lost
        finally:
            self._being_passed = None
        if self._runs.get(gate) is not run:  # it failed meanwhile, by a report of the PLC or with the gate's owner
            if is_recorded is not False:
                self._take_back(challenge, after)
            return
        if is_recorded is None:
            return
        if not is_recorded:
            self._fail(challenge, "another agent has ended it")
            return
        self._runs.pop(gate, None)
        counter.update(passed(self.settled(gate, counter.state)))
        self._shared.event("golden_passed", Severity.INFO, gate, f"{challenge.by}: {challenge.detail}")
        await self._reply(challenge)

    def _take_back(self, challenge: Challenge, stored: GateState) -> None:
        """Let the failure replace what was stored, which says that it was passed and is newer than the gate's state."""
        counter = self._shared.admission.counter(challenge.gate)
        state = counter.state
        counter.update(
            replace(state, orders=max(state.orders, stored.orders) + 1, watched=max(state.watched, stored.watched) + 1)
        )
        self._ended = [
            replace(each, was=ChallengeResult.PASSED)
            if each.challenge.challenge_id == challenge.challenge_id and each.challenge.gate == challenge.gate
            else each
            for each in self._ended
        ]

    def _fail(self, challenge: Challenge, why: str, run: ChallengeRun | None = None) -> None:
        """Hold the gate at once; the end is stored once it is known what the gate was told, and the ledger takes it.

        An agent that is killed before that finds the challenge open when it starts, and fails it again.
        """
        gate = challenge.gate
        self._runs.pop(gate, None)
        counter = self._shared.admission.counter(gate)
        counter.update(self._held(_closed(counter.state), HeldFor.GOLDEN_FAILED))
        self._shared.has_gate_change.set()
        detail = f"{why}; the gate is held until a challenge is passed or the command release"
        self._shared.event("golden_failed", Severity.ALARM, gate, detail)
        # The part that fails a challenge has been judged, and its decision is only sent after that.
        window_ns = int((self._shared.section_of(gate).window_ms / 1000 + TELLING_S) * 1e9)
        ended = self._ended_as(challenge, ChallengeResult.FAILED, why)
        self._ended.append(_Failed(ended, run, self._shared.clock.monotonic_ns() + window_ns))

    def _held(self, state: GateState, held_for: HeldFor) -> GateState:
        return hold(state, held_for, self._shared.clock.now(), self._shared.config.agent.name)

    def _give_up(self, run: ChallengeRun) -> None:
        """End a challenge whose gate another agent has taken over: that agent holds the gate for it."""
        self._runs.pop(run.challenge.gate, None)
        self.end_unbegun(run.challenge, TAKEN_OVER)

    def _fail_abandoned(self, gate: str) -> None:
        """Fail the challenge that an earlier run, or another agent, left open at a gate that this agent has now."""
        left = self._shared.admission.counter(gate).state.golden.challenge
        if left is not None and gate not in self._runs and self._shared.has_gate(gate):
            unknown = Challenge(left, gate, self._shared.config.agent.name, "", "", self._shared.clock.now(), 0.0, ())
            self._fail(unknown, RESTARTED)

    async def _store_ended(self) -> None:
        while self._ended:
            was = self._ended[0].was
            challenge = self._told_of(self._ended[0])
            if challenge is None:
                return
            counter = self._shared.admission.counter(challenge.gate)
            try:
                if not challenge.expected:  # left by an earlier run: only its row says what it was
                    stored = await self._ledger.load_challenge(challenge.challenge_id, challenge.gate)
                    if stored is not None:
                        challenge = self._ended_as(stored, ChallengeResult.FAILED, challenge.detail)
                is_ended = await self._ledger.record_challenge(challenge, counter.recorded_state, was)
                if not is_ended and was is ChallengeResult.PASSED:  # it never came to be stored as passed
                    await self._ledger.record_challenge(challenge, counter.recorded_state)
            except LedgerUnavailable:
                return
            self._ended.pop(0)
            await self._reply(challenge)

    def _told_of(self, failed: _Failed) -> Challenge | None:
        """The challenge with what the gate was told of its parts; None while a decision is on its way."""
        run = failed.run
        if run is None:
            return failed.challenge
        if run.is_telling:
            if self._shared.clock.monotonic_ns() < failed.until_ns:
                return None
            run.end_telling()
        return replace(failed.challenge, seen=run.challenge.seen)

    def _ended_as(self, challenge: Challenge, result: ChallengeResult, detail: str) -> Challenge:
        return replace(challenge, result=result, ended=self._shared.clock.now(), detail=detail)

    async def _reply(self, challenge: Challenge) -> None:
        if self._channel is None:
            return
        reply = {
            "v": 1,
            "cmd_id": challenge.challenge_id,
            "ok": int(challenge.result is ChallengeResult.PASSED),
            "agent": self._shared.config.agent.name,
            "at": format_time(self._shared.clock.now()),
            "detail": f"{challenge.gate}: {challenge.detail}",
            "challenge": challenge_record(challenge),
        }
        await self._channel.reply(CommandName.GOLDEN, reply)


def opened(state: GateState, challenge: Challenge) -> GateState:
    """The gate's state at the beginning of a challenge: in mode golden, and not held while it is under way."""
    part_ids = tuple(master.part_id for master in challenge.expected if master.part_id is not None)
    golden = replace(state.golden, challenge=challenge.challenge_id, masters=part_ids, is_collecting=True)
    freed = release(state) if state.held else state
    return replace(
        freed,
        mode=GateMode.GOLDEN,
        mode_expires_at=None,
        golden=golden,
        watched=freed.watched + 1,
        orders=freed.orders + 1,
    )


def passed(state: GateState) -> GateState:
    """The gate's state after a challenge was passed: in mode auto."""
    return replace(_closed(state), watched=state.watched + 1)  # no release: it was not held meanwhile


def _closed(state: GateState) -> GateState:
    golden = replace(state.golden, challenge=None, masters=(), is_collecting=False)
    # The end changes the mode as a command does, so that no state from before it brings the mode back.
    return replace(state, mode=GateMode.AUTO, mode_expires_at=None, golden=golden, orders=state.orders + 1)


def _without_master(admitted: Admitted) -> Admitted:
    return replace(admitted, standing=replace(admitted.standing, is_master=False))
