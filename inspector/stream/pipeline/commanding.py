"""Obeys commands to the line: job, mode, resync, golden, release.

A command is obeyed once, and it is stored before it takes effect. One that changes nothing leaves no row in the audit.
What command_sieve.py refuses never comes here. Here a command is refused for the state of the line, or because it can't
be stored, and the reply gives the reason. Of several agents with one gate only the one that owns it now obeys and
answers, so that two replies never contradict each other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from inspector.domain import (
    UNRELEASED,
    Challenge,
    CommandName,
    CommandRecord,
    CommandRequest,
    GateMode,
    GateState,
    Job,
    Order,
    Outcome,
    Severity,
    StormCounts,
)
from inspector.errors import CommandRefused, LedgerUnavailable
from inspector.ports import CommandChannel, Ledger
from inspector.stream.commands import REPEATED, USED_BEFORE, Command, check_time, cmd_id_of, read
from inspector.stream.gate_merging import undone
from inspector.stream.identity import TriggerCounter
from inspector.stream.pipeline.challenging import TAKEN_OVER, Challenging, opened
from inspector.stream.pipeline.command_sieve import CommandSieve
from inspector.stream.pipeline.owning import Owning
from inspector.stream.pipeline.ticket import Shared
from inspector.stream.storms import release
from inspector.stream.verdict_record import format_time
from inspector.stream.wording import HELD_WORDS, counted

EXPIRY_S = 0.5
JOBS_KEPT = 8
"""Jobs kept per gate: the current job, announced jobs, and earlier jobs that late views may belong to."""

CLOCKS_AGREE = timedelta(seconds=1)
"""A release may seem to be sent so long before the hold: its sender's clock is another one, and written in whole ms."""

AWAY = "The database is away, and what is not stored is not obeyed; send it again under a new cmd_id."

HELD_MEANWHILE = "the gate was held before it began"

UNDISTURBED_BY = frozenset({CommandName.MODE, CommandName.GOLDEN, CommandName.RELEASE})
"""Commands that are refused while a challenge is under way. It always ends by itself."""

Change = Callable[[GateState], GateState]


@dataclass(frozen=True, slots=True)
class _Plan:
    """The change that a command makes at one gate (or camera without a gate). `said`: it in words, for people.

    `is_idle`: everything stays as it is. `frees`: the state whose hold it ends, if it ends one.
    """

    order: Order
    change: Change
    said: str
    is_resync: bool = False
    challenge: Challenge | None = None
    is_idle: bool = False
    frees: GateState | None = None


class Commanding:
    """Runs two tasks: one obeys commands, the other ends modes whose time is over."""

    def __init__(
        self,
        shared: Shared,
        ledger: Ledger,
        channel: CommandChannel | None,
        products: Callable[[], tuple[str, ...]],
        challenging: Challenging,
        owning: Owning,
        sieve: CommandSieve,
    ) -> None:
        self._shared = shared
        self._owning = owning
        self._sieve = sieve
        self._ledger = ledger
        self._channel = channel
        self._products = products
        self._challenging = challenging

    async def run(self) -> None:
        """Obey and answer one command at a time, until the channel is closed."""
        if self._channel is None:
            return
        async for request in self._channel.requests(self._sieve.takes):
            answer = await self._answer(request)
            if answer is not None:
                await self._channel.reply(request.name, answer)

    async def run_expiry(self) -> None:
        """Set an expired mode back to auto, with an event. No frame is judged by an expired mode, even before that."""
        while True:
            await self._shared.clock.sleep(EXPIRY_S)
            for owner in self._served():
                if not self._owning.is_anothers(owner):
                    await self._expire(owner)

    async def _expire(self, owner: str) -> None:
        counter = self._shared.admission.counter(owner)
        over = counter.state.mode
        if over is counter.state.mode_at(self._shared.clock.now()):
            return
        counter.update(replace(counter.state, mode=GateMode.AUTO, mode_expires_at=None))
        said = f"the mode {over} is over{await self._given_by(owner)}; parts are judged again (auto)"
        self._shared.event("mode_expired", Severity.INFO, owner, said)
        with contextlib.suppress(LedgerUnavailable):  # the end of the mode is stored, so it stays over
            await self._ledger.record([], [], [counter.recorded_state])

    async def _given_by(self, owner: str) -> str:
        """Who had set the mode, when and why, in words; nothing while the database can't say it."""
        try:
            given = await self._ledger.last_order(owner, "mode")
        except LedgerUnavailable:
            return ""
        if given is None:
            return ""
        return f", which {given.by} set at {format_time(given.at)}: {given.reason}"

    async def _answer(self, request: CommandRequest) -> dict[str, Any] | None:
        """The reply; None if another agent has to answer."""
        try:
            command = read(request)
            owners, left = await self._owned(request, self._owners(command))
            if not owners:
                await self._note_left(command, request, left)
                return None
            detail = await self._obey(command, request, owners)
        except CommandRefused as refusal:
            self._sieve.note_refused(request, refusal)
            return self._sieve.reply(request, refusal)
        self._shared.telemetry.count("commands_obeyed", command=request.name.value)
        return self._reply(command, owners, detail)

    async def _owned(self, request: CommandRequest, owners: list[str]) -> tuple[list[str], str]:
        """Those of these gates (and cameras without a gate) that this agent may command, and who has the others.

        Raises CommandRefused for a gate whose owner does not hear this command or is not known.
        """
        owned: list[str] = []
        left: list[str] = []
        for owner in owners:
            if owner not in self._shared.gates or self._shared.is_of_group(owner):
                owned.append(owner)
                continue
            await self._owning.ensure_known(owner)
            if self._owning.owns(owner):
                owned.append(owner)
                continue
            rival = self._owning.rival(owner)
            if rival is None:
                raise CommandRefused(
                    f"It is not known now which agent decides about the parts of {owner}; send it again under a new "
                    "cmd_id in a few seconds."
                )
            if not self._owning.is_silent(owner):  # the owner is at another broker and does not hear it
                raise CommandRefused(f"The agent {rival} decides about the parts of {owner}, at another broker.")
            detail = f"{cmd_id_of(request.payload)}: the agent {rival} decides about the parts and answers"
            self._shared.event("command_left_to_owner", Severity.INFO, owner, detail)
            left.append(f"{owner} to {rival}")
        return owned, "; ".join(left)

    async def _note_left(self, command: Command, request: CommandRequest, left: str) -> None:
        """Store the id of a command that others obey: this agent must not obey the same message when it comes again."""
        detail = f"left: {left or 'another agent of the group has its gates'}"
        with contextlib.suppress(LedgerUnavailable):
            await self._ledger.record_command(self._record(command, request, detail, is_obeyed=False), [])

    async def _obey(self, command: Command, request: CommandRequest, owners: list[str]) -> str:
        config = self._shared.config
        # Once more, because it may have waited.
        check_time(command, self._shared.clock.now(), config.agent.command_age_s, config.commands.max_mode_h)
        plans = {owner: self._plan(command, owner, request.received_at) for owner in owners}
        alarms = {owner: self._shared.alarms_while_held[owner] for owner in owners}
        detail = ". ".join(_said(plan) for plan in plans.values())
        record = self._record(command, request, detail, is_obeyed=True)
        record = replace(record, orders=tuple(plan.order for plan in plans.values() if not plan.is_idle))
        states = [self._planned(owner, plan) for owner, plan in plans.items()]
        challenge = next((plan.challenge for plan in plans.values()), None)
        try:
            is_new = await self._ledger.record_command(record, states, challenge)
        except LedgerUnavailable:
            raise CommandRefused(AWAY) from None
        if not is_new:
            raise CommandRefused(USED_BEFORE, REPEATED)
        lost = [owner for owner in plans if not self._still_owns(owner)]
        if lost:
            # A command never holds at some of its gates only.
            await self._undo(states, challenge, TAKEN_OVER)
            raise CommandRefused(
                f"Another agent came to decide about the parts of {', '.join(lost)} while this was stored, so it "
                "changes nothing; send it again under a new cmd_id."
            )
        held = [owner for owner, plan in plans.items() if self._is_held_anew(owner, plan, alarms[owner])]
        if held:
            # Whoever sent it can't have known of this hold.
            for state in states:
                self._get_ahead_of(state)
            await self._undo(states, challenge, HELD_MEANWHILE)
            raise CommandRefused(
                f"{', '.join(held)} was held while this was stored, so it changes nothing; look at the alarm, and send "
                "it again under a new cmd_id."
            )
        if command.name is CommandName.JOB:
            plans = await self._begun_later(command, plans)
            detail = ". ".join(_said(plan) for plan in plans.values())
        for owner, plan in plans.items():
            self._apply(owner, plan)
            if plan.is_idle:
                continue
            self._shared.event(
                "command_obeyed", Severity.INFO, owner, f"{plan.said}. By {command.by}: {command.reason}"
            )
        return detail

    def _still_owns(self, owner: str) -> bool:
        """Whether a gate that was this agent's before the database was asked is so still."""
        return owner not in self._shared.gates or self._shared.is_of_group(owner) or not self._owning.is_silent(owner)

    def _is_held_anew(self, owner: str, plan: _Plan, alarms: int) -> bool:
        """Whether a command would end a hold that began after it was planned, or met more than these alarms since."""
        state = self._shared.admission.counter(owner).state
        if plan.frees is None or not state.held:
            return False
        return _hold_of(state) != _hold_of(plan.frees) or self._shared.alarms_while_held[owner] != alarms

    def _get_ahead_of(self, stored: GateState) -> None:
        """Count as many changes as the store will have once this state is undone, so that later ones are newer."""
        counter = self._shared.admission.counter(stored.name)
        state = counter.state
        counter.update(
            replace(
                state,
                orders=max(state.orders, stored.orders) + 1,
                releases=max(state.releases, stored.releases),
                watched=max(state.watched, stored.watched) + 1,
            )
        )

    async def _undo(self, states: list[GateState], challenge: Challenge | None, why: str) -> None:
        """Store the gates as they were before a command, else an agent that starts would find the command obeyed."""
        before = [undone(state, self._shared.admission.counter(state.name).recorded_state) for state in states]
        if challenge is not None:
            self._challenging.end_unbegun(challenge, why)
        try:
            await self._ledger.record([], [], before)
        except LedgerUnavailable:
            detail = "the database has a command that was refused, and went away; send mode auto when it is back"
            for state in before:
                self._shared.event("command_not_undone", Severity.ALARM, state.name, detail)

    def _planned(self, owner: str, plan: _Plan) -> GateState:
        """The state to store, which counts only frames that have rows. Frames under way advance it later."""
        counter = self._shared.admission.counter(owner)
        if plan.is_resync:
            changed = plan.change(counter.state)
            return replace(changed, epoch=counter.state.epoch + 1, last_trigger=None, gaps=counter.gaps.stored())
        return plan.change(counter.recorded_state)

    def _apply(self, owner: str, plan: _Plan) -> None:
        counter = self._shared.admission.counter(owner)
        counter.update(plan.change(counter.state))
        self._shared.has_gate_change.set()
        if plan.challenge is not None:
            self._challenging.begin(plan.challenge)
        if plan.is_resync:
            counter.new_epoch()
            gate = self._shared.gates.get(owner)
            if gate is not None:
                gate.forget_epochs_before(counter.state.epoch)

    def _plan(self, command: Command, owner: str, received_at: datetime) -> _Plan:
        counter = self._shared.admission.counter(owner)
        if counter.state.golden.challenge is not None and command.name in UNDISTURBED_BY:
            raise CommandRefused(f"A golden challenge of {owner} is under way; send it again when that has ended.")
        match command.name:
            case CommandName.JOB:
                return self._plan_job(command, owner, counter)
            case CommandName.RESYNC:
                epoch = counter.state.epoch
                order = Order(owner, "epoch", str(epoch), str(epoch + 1))
                said = f"epoch {epoch + 1} begins; decisions about parts of epoch {epoch} are dropped"
                return _Plan(order, lambda state: replace(state, orders=state.orders + 1), said, is_resync=True)
            case CommandName.RELEASE:
                return self._plan_release(owner, counter.state, command.sent_at, received_at)
            case CommandName.MODE:
                return _plan_mode(command, owner, counter.state)
            case CommandName.GOLDEN:
                return self._plan_challenge(command, owner, counter.state)

    def _plan_release(self, owner: str, state: GateState, sent_at: datetime, received_at: datetime) -> _Plan:
        def change(state: GateState) -> GateState:
            # Whoever releases a gate that a challenge holds answers for the challenge that is due.
            freed = self._challenging.settled(owner, state) if state.held_for in UNRELEASED else state
            return replace(release(freed), orders=state.orders + 1)

        said = "it was not held; its counts of rejects and frames in a row begin again at 0"
        if state.held_since is not None and state.held:
            # A hold that seems to begin in the future began before this agent's clock was set back.
            waited = received_at < state.held_since <= self._shared.clock.now()
            if waited or sent_at < state.held_since - CLOCKS_AGREE:
                since = format_time(state.held_since)
                raise CommandRefused(
                    f"It was sent before {owner} was held ({since}); whoever sent it can't have known why."
                )
        if state.held:
            why = "" if state.held_for is None else f" ({HELD_WORDS[state.held_for]})"
            said = f"released; it was held{why}"
        is_idle = not state.held and not state.reject_streak and state.storm == StormCounts()
        order = Order(owner, "gate", _held_text(state), "not held")
        return _Plan(order, change, said, is_idle=is_idle, frees=state)

    def _plan_challenge(self, command: Command, owner: str, state: GateState) -> _Plan:
        challenge = self._challenging.plan(command, owner, state)
        good = sum(master.expected is Outcome.PASS for master in challenge.expected)
        bad = len(challenge.expected) - good
        said = (
            f"a golden challenge has begun: show {counted(good, 'good reference part')} and then "
            f"{counted(bad, 'bad one')} within {challenge.within_s:g} s"
        )
        if any(master.part_id is not None for master in challenge.expected):
            said = said.replace(" and then ", " and ")
        order = Order(owner, "golden", _held_text(state), "challenge")
        return _Plan(order, lambda state: opened(state, challenge), said, challenge=challenge, frees=state)

    def _plan_job(self, command: Command, owner: str, counter: TriggerCounter) -> _Plan:
        modulus, wanted_trigger = counter.modulus, command.from_trigger
        if modulus is not None and wanted_trigger is not None and wanted_trigger >= modulus:
            raise CommandRefused(
                f"Its effective_from_trig is {wanted_trigger}, but the last trigger of {owner} is {modulus - 1} "
                "(trigger_modulus)."
            )
        next_count = counter.reached + 1 if counter.state.last_trigger is not None else counter.reached
        wanted = next_count if command.from_trigger is None else counter.place(command.from_trigger)
        count = max(wanted, next_count)
        job = Job(command.job_id, command.lot, command.product, counter.state.epoch, count)
        running = counter.state.job_of(counter.state.epoch, counter.reached)
        begins = "the next part" if command.from_trigger is None else f"trigger {counter.number(count)}"
        said = f"{_job_text(job, 'no job')} from {begins} on (before: {_job_text(running, 'no job')})"
        if wanted < count:
            said += f". Parts before trigger {counter.number(count)} have been seen already"
        if command.product is not None and command.product not in self._products():
            said += f". No version of {command.product} is live, so its parts can't pass: enrol or activate one"

        def change(state: GateState) -> GateState:
            begin = (job.from_epoch, job.from_count)
            before = [earlier for earlier in state.jobs if (earlier.from_epoch, earlier.from_count) < begin]
            return replace(state, jobs=(*before, job)[-JOBS_KEPT:], orders=state.orders + 1)

        is_idle = _is_same_job(running, job) and not any(_is_announced(each, counter) for each in counter.state.jobs)
        return _Plan(Order(owner, "job", _job_text(running), _job_text(job)), change, said, is_idle=is_idle)

    async def _begun_later(self, command: Command, plans: dict[str, _Plan]) -> dict[str, _Plan]:
        """The plans of a job where parts have come while it was stored: it begins behind these, and is stored so."""
        made = {owner: self._plan_job(command, owner, self._shared.admission.counter(owner)) for owner in plans}
        late = {owner: plan for owner, plan in made.items() if plan.said != plans[owner].said and not plan.is_idle}
        if not late:
            return plans
        for owner, plan in late.items():
            late[owner] = replace(plan, change=_after_another(plan.change))
        states = [self._planned(owner, plan) for owner, plan in late.items()]
        with contextlib.suppress(LedgerUnavailable):  # else the next row stores it
            await self._ledger.record([], [], states)
        return plans | late

    def _owners(self, command: Command) -> list[str]:
        """The gates (and cameras without a gate) that the command is for and that this agent has now.

        Raises CommandRefused for a name that the agent does not know.
        """
        if command.owner is None:
            served = self._served()
            gates = [owner for owner in served if owner in self._shared.gates]
            if command.name is not CommandName.GOLDEN:
                return served
            gates = [gate for gate in gates if not self._owning.is_anothers(gate)] or gates
            if len(gates) > 1:
                raise CommandRefused(f"It names no gate; a challenge is of one of {', '.join(gates)}.")
            return gates
        owners = {self._shared.owner_of(camera.name) for camera in self._shared.config.camera}
        if command.owner not in owners:
            agent = self._shared.config.agent.name
            raise CommandRefused(
                f"The agent {agent} has no gate {command.owner} and no camera of that name without a gate."
            )
        return [command.owner] if command.owner in self._served() else []

    def _served(self) -> list[str]:
        cameras = [camera.name for camera in self._shared.config.camera if self._shared.serves(camera.name)]
        return list(dict.fromkeys(self._shared.owner_of(camera) for camera in cameras))

    def _record(self, command: Command, request: CommandRequest, detail: str, *, is_obeyed: bool) -> CommandRecord:
        return CommandRecord(
            cmd_id=command.cmd_id,
            name=command.name,
            agent=self._shared.config.agent.name,
            by=command.by,
            reason=f"{command.reason} (key {command.key})" if self._sieve.checks_keys else command.reason,
            sent_at=command.sent_at,
            received_at=request.received_at,
            is_obeyed=is_obeyed,
            detail=detail,
        )

    def _reply(self, command: Command, owners: list[str], detail: str) -> dict[str, Any]:
        now = self._shared.clock.now()
        counters = [self._shared.admission.counter(owner) for owner in owners]
        return {
            "v": 1,
            "cmd_id": command.cmd_id,
            "ok": 1,
            "agent": self._shared.config.agent.name,
            "at": format_time(now),
            "detail": detail,
            "gates": [_state_record(counter, counter.state.mode_at(now)) for counter in counters],
        }


def _after_another(change: Change) -> Change:
    """The change as one more than that which the store has already."""
    return lambda state: change(replace(state, orders=state.orders + 1))


def _plan_mode(command: Command, owner: str, state: GateState) -> _Plan:
    mode = command.mode or GateMode.AUTO
    until = None if mode is GateMode.AUTO else command.expires_at

    def change(state: GateState) -> GateState:
        return replace(state, mode=mode, mode_expires_at=until, orders=state.orders + 1)

    said = f"mode {mode}{_until(until)} (before: {state.mode})"
    # A mode that only lasts longer is a change too, and says so.
    order = Order(owner, "mode", f"{state.mode}{_until(state.mode_expires_at)}", f"{mode}{_until(until)}")
    return _Plan(order, change, said, is_idle=(mode, until) == (state.mode, state.mode_expires_at))


def _is_same_job(running: Job | None, job: Job) -> bool:
    said = (job.job_id, job.lot, job.product)
    return job.job_id is None if running is None else said == (running.job_id, running.lot, running.product)


def _is_announced(job: Job, counter: TriggerCounter) -> bool:
    """Whether the job begins later than with the parts that have come."""
    return (job.from_epoch, job.from_count) > (counter.state.epoch, counter.reached)


def _state_record(counter: TriggerCounter, mode: GateMode) -> dict[str, Any]:
    state = counter.state
    job = state.jobs[-1] if state.jobs else None
    return {
        "gate": state.name,
        "ep": state.epoch,
        "mode": mode.value,
        "job_id": job.job_id if job else None,
        "lot": job.lot if job else None,
        "effective_from_trig": counter.number(job.from_count) if job and job.from_count >= 0 else None,
    }


def _hold_of(state: GateState) -> tuple[Any, ...]:
    return state.held, state.held_for, state.held_since, state.held_by


def _held_text(state: GateState) -> str:
    if not state.held:
        return "not held"
    return "held" if state.held_for is None else f"held: {state.held_for}"


def _until(moment: Any) -> str:
    return "" if moment is None else f" until {format_time(moment)}"


def _job_text(job: Job | None, nothing: str = "none") -> str:
    if job is None or job.job_id is None:
        return nothing
    said = [
        f"job {job.job_id}" if nothing != "none" else job.job_id,
        f"lot {job.lot}" if job.lot else "",
        f"product {job.product}" if job.product else "",
    ]
    return ", ".join(part for part in said if part)


def _said(plan: _Plan) -> str:
    return f"{plan.order.owner}: {plan.said}"
