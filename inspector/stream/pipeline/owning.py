"""One agent decides about the parts of a gate. Claims the gates that this agent serves, and reports other owners.

A gate that another agent owns is told nothing by this one: no decision, and no heartbeat while the owner's can be heard
at this broker, because the PLC would take it for the owner's. Agents that share a database but no broker see each other
by the ledger. An agent that is started again owns its gates at once; another agent has to hear nothing of it first.

An agent that waits follows what the owner tells of the gate: its epoch, hold, mode, jobs and challenges. When it comes
to own the gate, it goes on from there in an epoch above all that are known (`succession`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from inspector.config.line_sections import GateSection
from inspector.domain import AgentPresence, GateOwner, GateState, Severity
from inspector.errors import LedgerUnavailable
from inspector.ports import GateOwners, Ledger
from inspector.stream.pipeline.succession import Succession
from inspector.stream.pipeline.ticket import Shared

STEP_S: Final = 0.1
LEDGER_S: Final = 5.0
FIRST_LEDGER_S: Final = 1.0
"""A start waits no longer for the ledger, since a database that is away must not hold up a line."""

SILENT_S: Final = 15.0
"""An owner says so in the ledger every `LEDGER_S`. One that has not for so long is gone."""

SETTLED_S: Final = 2.0
KNOWN_S: Final = 3.0
"""Longer than another agent takes to follow an owner that died."""

TELL_AFTER_S: Final = 1.5
"""A gate that moves within a group of agents is still with the other one for a moment, which is no news."""


@dataclass(frozen=True, slots=True)
class _Sign:
    """What the ledger says of another owner, the same since `since_ns`. Clocks of two machines can't be compared."""

    owner: GateOwner
    since_ns: int


class Owning:
    """Holds which gates this agent owns. Without `owners` it owns all of them."""

    def __init__(self, shared: Shared, owners: GateOwners | None, ledger: Ledger, software: str) -> None:
        self._shared = shared
        self._owners = owners
        self._ledger = ledger
        self._software = software
        self._started_at: datetime = shared.clock.now()
        self._elsewhere: dict[str, GateOwner] = {}
        self._refused_since_ns: dict[str, int] = {}
        self._told: dict[str, GateOwner] = {}
        self._contended_since_ns: dict[str, int] = {}
        self._told_contenders: dict[str, GateOwner] = {}
        self._deaf: set[str] = set()
        self._owned: set[str] = set()
        self._cleared: set[str] = set()
        if owners is not None:
            for gate in shared.config.gate:
                owners.deny(gate.name, True)
        self._signs: dict[str, _Sign] = {}
        self._succession = Succession(shared, owners, ledger)
        self._is_left = False
        shared.is_anothers = self.is_anothers

    def served(self) -> list[GateSection]:
        """The gates that this agent has now. In a group of agents the others have the rest."""
        gates = self._shared.config.gate
        return [gate for gate in gates if any(self._shared.serves(camera) for camera in gate.cameras)]

    def owns(self, gate: str) -> bool:
        return self._owners is None or self._owners.owns(gate)

    def rival(self, gate: str) -> GateOwner | None:
        """The other agent that owns the gate; None if this agent does, or if it is not known."""
        if self._owners is None:
            return None
        return self._elsewhere.get(gate) or self._owners.rival(gate)

    def is_anothers(self, gate: str) -> bool:
        """Whether another agent owns the gate, or did so last: parts that come now are not this agent's to account for.

        False while nothing is known of another agent.
        """
        owners = self._owners
        if owners is None or gate not in self._shared.gates or self.owns(gate):
            return False
        if self.rival(gate) is not None:
            return True
        before = owners.predecessor(gate)
        return before is not None and before.identity != owners.identity

    def is_epoch_anothers(self, gate: str) -> bool:
        """Whether the parts of the gate's epoch are another agent's to account for, since this one follows it."""
        owners = self._owners
        if owners is None or self._shared.is_of_group(gate) or not self.is_anothers(gate):
            return False
        state = self._shared.admission.counter(gate).state
        return state.epoch_of != owners.identity or self._succession.is_strange(gate, state.epoch)

    def takes_report(self, gate: str, epoch: int) -> bool:
        """Whether a PLC's report of this epoch is stored here. Else it is about a part of another agent, which has it.

        An agent that waits stores what is about parts that it has seen under the owner's own epoch: so nothing is lost
        that comes after the owner has died. It stores no report that could be about an older part of its own.
        """
        owners = self._owners
        if owners is None or self._shared.is_of_group(gate):
            return True
        if self._succession.is_strange(gate, epoch):
            return False
        counter = self._shared.admission.counter(gate)
        if epoch > counter.state.epoch and self.is_anothers(gate):
            self._follow(owners)
            return epoch <= counter.state.epoch and not self._succession.is_strange(gate, epoch)
        return True

    @property
    def succession(self) -> Succession:
        """What this agent has taken over from others."""
        return self._succession

    async def ensure_known(self, gate: str, limit_s: float = KNOWN_S) -> None:
        """Returns when it is known who owns the gate, but after `limit_s` in any case."""
        for _ in range(int(limit_s / STEP_S)):
            if self._owners is None or self.owns(gate) or self.rival(gate) is not None:
                return
            await self._shared.clock.sleep(STEP_S)

    def is_silent(self, gate: str) -> bool:
        """Whether this agent must not be heard at the gate, because the heartbeat there is another agent's."""
        return not self.owns(gate) and gate not in self._elsewhere

    async def ensure_settled(self) -> None:
        """Returns when it is known who owns each gate that this agent serves, but after `SETTLED_S` in any case."""
        for _ in range(int(SETTLED_S / STEP_S)):
            if self._owners is None or all(self._is_settled(self._owners, gate.name) for gate in self.served()):
                return
            await self._shared.clock.sleep(STEP_S)

    async def run(self, changed: Callable[[str], Awaitable[None]]) -> None:
        """Claim the served gates until cancelled. `changed` is awaited with each gate that this agent came to own."""
        while self._owners is not None and not self._is_left:
            self._owners.want(self._states())
            self._follow(self._owners)
            await self._clear(self._owners)
            for gate in self.served():
                self._tell(gate.name)
                self._tell_contender(gate.name)
                if not self.owns(gate.name):
                    self._owned.discard(gate.name)
                elif gate.name not in self._owned:
                    self._owned.add(gate.name)
                    # What an agent that waits keeps to itself is no sign that its decisions come too late.
                    self._shared.untold_runs.pop(gate.name, None)
                    self._shared.has_news.set()
                    await changed(gate.name)
            await self._shared.has_gate_change.wait(STEP_S)

    async def run_ledger(self) -> None:
        """Write into the ledger which gates this agent owns, and read who else does, until cancelled."""
        while self._owners is not None:
            await self._shared.clock.sleep(LEDGER_S)
            await self._ask_ledger()
            await self._succession.store()

    async def leave(self) -> None:
        """Give all gates up, because the agent ends. The ledger is told if it is there."""
        if self._owners is None:
            return
        self._is_left = True
        for gate, epoch in self._epochs().items():
            if self.owns(gate):
                detail = f"this agent ends and gives the gate up in epoch {epoch}; no agent has to wait for it"
                self._shared.event("gate_given_up", Severity.INFO, gate, detail)
        self._owners.want({})
        with contextlib.suppress(TimeoutError, LedgerUnavailable):
            async with asyncio.timeout(FIRST_LEDGER_S):
                await self._ledger.record_owned(self._presence, {}, {})

    def _states(self) -> dict[str, GateState]:
        return {gate.name: self._shared.admission.counter(gate.name).state for gate in self.served()}

    def _epochs(self) -> dict[str, int]:
        return {gate: state.epoch for gate, state in self._states().items()}

    def _follow(self, owners: GateOwners) -> None:
        for gate in self.served():
            rival = owners.rival(gate.name)
            if rival is not None:
                self._succession.follow(rival)

    def _is_settled(self, owners: GateOwners, gate: str) -> bool:
        return owners.is_settled(gate) and (gate in self._cleared or not owners.is_claimed(gate))

    async def _clear(self, owners: GateOwners) -> None:
        """Ask the ledger about each gate that came to this agent, before anything is said at it."""
        wanted = {gate.name for gate in self.served()}
        for section in self._shared.config.gate:
            if section.name not in wanted or owners.rival(section.name) is not None:
                self._cleared.discard(section.name)
                owners.deny(section.name, True)
        fresh = {
            gate
            for gate in wanted
            if owners.is_claimed(gate) and (gate not in self._cleared or owners.predecessor(gate) is not None)
        }
        if not fresh:
            return
        for gate in fresh:
            owners.deny(gate, True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LEDGER_S):
                await self._ask_ledger()
        # Together, because a database that is away holds up each of them, and no other gate may be told late for that.
        async with asyncio.TaskGroup() as takeovers:
            for gate in sorted(fresh - self._elsewhere.keys()):
                takeovers.create_task(self._succession.take_over(gate))
        self._cleared |= fresh
        self._deny(owners)
        await self._succession.store()

    def _deny(self, owners: GateOwners) -> None:
        for gate in self._cleared:
            owners.deny(gate, gate in self._elsewhere)

    def _tell(self, gate: str) -> None:
        """Report another owner once, and once that it is gone; and a broker that does not let this agent claim."""
        now_ns, rival = self._shared.clock.monotonic_ns(), self.rival(gate)
        if self._owners is not None and self._owners.is_unanswered(gate) and gate not in self._deaf:
            self._deaf.add(gate)
            detail = "the broker returns nothing that this agent says on its topic owner, so the gate is never ready"
            self._shared.event(
                "gate_claim_refused", Severity.ALARM, gate, f"{detail}; allow the agent to publish and read there"
            )
        if rival is None:
            self._refused_since_ns.pop(gate, None)
            if self.owns(gate) and self._told.pop(gate, None) is not None:
                self._shared.event("gate_owned", Severity.INFO, gate, "this agent decides about its parts now")
            return
        since_ns = self._refused_since_ns.setdefault(gate, now_ns)
        told = self._told.get(gate)
        if now_ns - since_ns >= TELL_AFTER_S * 1e9 and (told is None or told.session != rival.session):
            self._told[gate] = rival
            self._shared.has_news.set()
            detail = f"the agent {rival} decides about its parts; this agent tells the gate nothing. End one of them"
            self._shared.event("gate_owned_by_other", Severity.ALARM, gate, detail)

    def _tell_contender(self, gate: str) -> None:
        """Report once each other agent that waits for a gate of this one, and once that it is gone."""
        if self._owners is None or not self.owns(gate):
            return
        contender = self._owners.contender(gate)
        if contender is None:
            self._contended_since_ns.pop(gate, None)
            if (gone := self._told_contenders.pop(gate, None)) is not None:
                self._shared.event("gate_second_agent_gone", Severity.INFO, gate, f"the agent {gone} is gone")
            return
        now_ns = self._shared.clock.monotonic_ns()
        since_ns = self._contended_since_ns.setdefault(gate, now_ns)
        told = self._told_contenders.get(gate)
        if now_ns - since_ns >= TELL_AFTER_S * 1e9 and (told is None or told.session != contender.session):
            self._told_contenders[gate] = contender
            detail = f"the agent {contender} serves this gate too and waits; only this agent tells the gate. End one"
            self._shared.event("gate_second_agent", Severity.ALARM, gate, f"{detail} of them")

    async def _ask_ledger(self) -> None:
        owners = self._owners
        if owners is None or self._is_left:
            return
        claimed = {gate: epoch for gate, epoch in self._epochs().items() if owners.is_claimed(gate)}
        # An agent that was heard at this broker is judged by its silence there, which shows sooner than in the ledger.
        dead = {gate: owners.heard(gate) | self._silent_sessions(gate) for gate in claimed}
        try:
            others = await self._ledger.record_owned(self._presence, claimed, dead)
        except LedgerUnavailable:
            return
        self._note_signs(others)
        # A gate that was not asked about, because this agent lost its own broker for a moment, is still the other's.
        served = {gate.name for gate in self.served()}
        kept = {gate: owner for gate, owner in self._elsewhere.items() if gate in served and gate not in claimed}
        before, self._elsewhere = self._elsewhere, kept | {owner.gate: owner for owner in others}
        for gate in before.keys() - self._elsewhere.keys():
            self._succession.note_elsewhere(before[gate])
            self._cleared.discard(gate)  # its state is taken over before it is told anything
            owners.deny(gate, True)
        self._deny(owners)

    def _silent_sessions(self, gate: str) -> frozenset[str]:
        """The session that the ledger names as owner, if it has said nothing there for `SILENT_S` by this clock."""
        sign = self._signs.get(gate)
        if sign is None or self._shared.clock.monotonic_ns() - sign.since_ns < SILENT_S * 1e9:
            return frozenset()
        return frozenset({sign.owner.session})

    def _note_signs(self, others: list[GateOwner]) -> None:
        now_ns = self._shared.clock.monotonic_ns()
        known = self._signs
        self._signs = {
            owner.gate: known[owner.gate]
            if owner.gate in known and known[owner.gate].owner == owner
            else _Sign(owner, now_ns)
            for owner in others
        }

    @property
    def _presence(self) -> AgentPresence:
        owners, config = self._owners, self._shared.config
        return AgentPresence(
            name=config.agent.name,
            identity="" if owners is None else owners.identity,
            session="" if owners is None else owners.session,
            software=self._software,
            config_digest=config.digest,
            started_at=self._started_at,
        )
