"""Takes a gate over from the agent that owned it: nothing that a person or a bound has set changes with the owner.

While another agent owns the gate, its state is followed. The taker begins an epoch above all that are known, so an
epoch never goes back at the gate, and a report of a PLC shows by its epoch whose part it is about. Agents of one Kafka
group share a ledger, which carries the whole state, so their epoch goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

from inspector.domain import GateMode, GateOwner, GateState, Severity
from inspector.errors import LedgerUnavailable
from inspector.ports import GateOwners, Ledger
from inspector.stream.handover import is_news, with_elsewhere
from inspector.stream.pipeline.ticket import Shared
from inspector.stream.storms import hold_words
from inspector.stream.verdict_record import format_time

PATIENCE_S: Final = 1.0
"""A takeover waits no longer for the ledger, since a database that is away must not hold up a line."""


class Succession:
    """What this agent knows of the owners before it. `listeners` are called before a gate is told anything."""

    def __init__(self, shared: Shared, owners: GateOwners | None, ledger: Ledger) -> None:
        self._shared = shared
        self._owners = owners
        self._ledger = ledger
        self._told: dict[str, GateState] = {}
        self._strange: dict[str, int] = {}
        self._accounted_from: dict[str, int] = {}
        self._elsewhere: dict[str, GateOwner] = {}
        self._unstored: set[str] = set()
        self.listeners: list[Callable[[str], None]] = []

    @property
    def _identity(self) -> str:
        return "" if self._owners is None else self._owners.identity

    def accounted_from(self, gate: str) -> int:
        """The first epoch in which this agent owned the gate, since it last followed another one; 0: always."""
        return self._accounted_from.get(gate, 0)

    def is_strange(self, gate: str, epoch: int) -> bool:
        """Whether a report of this epoch may be about another agent's part while this ledger has parts of its own."""
        return epoch <= self._strange.get(gate, 0)

    def note_elsewhere(self, owner: GateOwner) -> None:
        """Note an owner at another broker that has given the gate up, or is gone."""
        self._elsewhere[owner.gate] = owner

    def follow(self, owner: GateOwner) -> None:
        """Take over what the owner tells of its gate, which this agent waits for."""
        gate, told = owner.gate, owner.state
        if told is not None and self._told.get(gate) == told:
            return
        counter = self._shared.admission.counter(gate)
        before = counter.state
        is_same = told is not None and counter.follow(told, self._shared.config.agent.name)
        if is_same:
            self._strange.pop(gate, None)
        elif owner.epoch <= counter.state.epoch:
            self._strange[gate] = counter.state.epoch
        if told is not None:
            self._told[gate] = told
        state = counter.state
        if not self._shared.is_of_group(gate) and state.epoch_of == owner.identity != self._identity:
            counter.update(with_elsewhere(state, owner.epoch, owner.epoch))
        if is_news(counter.state, before):
            self._unstored.add(gate)
            self._shared.has_news.set()

    async def take_over(self, gate: str) -> None:
        """Returns when the gate's state is what it was under the owner before, in an epoch that never was."""
        if self._owners is None:
            return
        self._told.pop(gate, None)  # what was followed may have been changed here since
        before, counter = self._owners.predecessor(gate), self._shared.admission.counter(gate)
        elsewhere = self._elsewhere.pop(gate, None)
        if before is not None and self._is_mine(before):
            if before.state is not None:
                counter.resume(before.state)
                self._unstored.add(gate)
            elif before.epoch > counter.state.epoch:  # of software that did not tell the state
                counter.take_over(before.epoch + 1, self._owners.identity, has_ledger=True)
                self._unstored.add(gate)
        elif before is not None or elsewhere is not None:
            await self._succeed(gate, before, elsewhere)
        if not counter.state.epoch_of:
            counter.name_epoch(self._owners.identity)
            self._unstored.add(gate)
        for listen in self.listeners:
            listen(gate)
        self._told.pop(gate, None)
        later = self._owners.predecessor(gate)
        if later == before and _state_of(later) == _state_of(before):
            self._owners.succeed(gate)  # else another agent has owned it meanwhile, and its state comes next

    def _is_mine(self, owner: GateOwner) -> bool:
        """Whether an earlier run of this agent is meant. A cloned machine has the identity too, but not the name."""
        identity = "" if self._owners is None else self._owners.identity
        return (owner.agent, owner.identity) == (self._shared.config.agent.name, identity)

    async def store(self) -> None:
        """Store the states that were taken over. What can't be stored now is stored by the next call."""
        gates, self._unstored = self._unstored, set()  # a state that is followed meanwhile is stored by the next call
        if not gates:
            return
        states = [self._shared.admission.counter(gate).recorded_state for gate in sorted(gates)]
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._ledger.record([], [], states)
        except (TimeoutError, LedgerUnavailable):
            self._unstored |= gates

    async def _succeed(self, gate: str, before: GateOwner | None, elsewhere: GateOwner | None) -> None:
        counter = self._shared.admission.counter(gate)
        own = counter.state
        stored = await self._stored(gate)
        if before is not None:
            if self._shared.is_of_group(gate) and stored is not None and _is_same_epoch(stored, before):
                counter.adopt(stored)  # the frames that it knows are loaded with the first delivery of the stream
                counter.name_epoch(stored.epoch_of)
                if before.state is not None:  # told, and perhaps not stored before its agent ended
                    counter.resume(before.state)
                    self._unstored.add(gate)
                return
            self.follow(before)
        if stored is not None and elsewhere is not None:
            counter.adopt(stored)
        elif stored is not None:
            counter.resume(stored)  # a hold that is stored and was not told, if the ledger is the owner's too
        known = [owner for owner in (before, elsewhere) if owner is not None]
        epochs = [counter.state.epoch, *(owner.epoch for owner in known), stored.epoch if stored else 0]
        epoch = max(epochs) + 1
        if elsewhere is None and not self._shared.is_of_group(gate):
            first = own.epoch + (own.epoch_of in ("", self._identity))
            counter.update(with_elsewhere(counter.state, max(first, 1), epoch - 1))
        counter.take_over(epoch, self._identity, has_ledger=elsewhere is not None)
        self._shared.gates[gate].forget_epochs_before(epoch)
        self._accounted_from[gate] = self._shared.taken_over[gate] = epoch
        self._unstored.add(gate)
        kept = "; ".join(_kept(counter.state, self._shared.clock.now()))
        detail = f"this agent follows the agent {known[0]}; epoch {epoch} begins; {kept or 'the gate is not held'}"
        self._shared.event("gate_taken_over", Severity.WARNING, gate, detail)

    async def _stored(self, gate: str) -> GateState | None:
        with contextlib.suppress(TimeoutError, LedgerUnavailable):
            async with asyncio.timeout(PATIENCE_S):
                return (await self._ledger.load_gates([gate])).get(gate)
        return None


def _state_of(owner: GateOwner | None) -> GateState | None:
    return None if owner is None else owner.state


def _is_same_epoch(stored: GateState, owner: GateOwner) -> bool:
    is_of_one_ledger = owner.state is None or stored.epoch_of == owner.state.epoch_of
    return is_of_one_ledger and stored.epoch >= owner.epoch


def _kept(state: GateState, now: datetime) -> Iterator[str]:
    """What people should know of a gate that was taken over."""
    if state.held:
        yield f"the gate stays {hold_words(state)}"
    if state.golden.challenge is not None:
        yield "the golden challenge under way has failed with its agent"
    elif state.mode_at(now) is not GateMode.AUTO:
        until = "" if state.mode_expires_at is None else f" until {format_time(state.mode_expires_at)}"
        yield f"the mode stays {state.mode}{until}"
