"""What one agent hands over to another with a gate: epoch, hold, mode, jobs, challenges. It needs no common ledger.

Pure. The owner of a gate tells its state with each notice (`ownership`). An agent that waits for the gate follows that
state, so that nothing changes with the owner: a hold stays until a person releases it, a mode until its time is over,
and a challenge stays due, failed or under way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Final

from inspector.domain import GateState
from inspector.stream.gate_merging import ENDED_KEPT, HOLD_FIELDS, hold_name

_COUNTED: Final = ("reject_streak", "storm", "watched", "last_trigger", "gaps")
"""Fields that change with the parts. All others are news for an agent that follows."""

ELSEWHERE_KEPT: Final = 64
"""Runs of epochs of other agents that are remembered."""

_FOLLOWED_ORDERS: Final = ("mode", "mode_expires_at", "jobs")
_FOLLOWED_WATCH: Final = ("reject_streak", "storm", "golden")


def handed_over(state: GateState) -> GateState:
    """The part of a gate's state that another agent can use. Counts of triggers are each agent's own."""
    return replace(state, last_trigger=None, gaps=(), elsewhere=())


def is_news(state: GateState | None, told: GateState | None) -> bool:
    """Whether more than the counts of parts has changed since a state was told."""
    if state is None or told is None:
        return state is not told
    names = [field.name for field in fields(GateState) if field.name not in _COUNTED]
    return any(getattr(state, name) != getattr(told, name) for name in names)


def followed(own: GateState, owner: GateState, agent: str) -> GateState:
    """The state of the agent that waits, after the owner told its state. Epoch and count stay as they are.

    A hold of this agent's own stays too, unless a person has ended it at the owner. Counts of releases can't say that:
    the two agents may have counted apart. `agent`: this agent's name.
    """
    # A hold without an agent is from before holds had one, so it may be this agent's.
    keeps = own.held and own.held_by in (None, agent) and hold_name(own) not in owner.ended_holds
    hold = own if keeps and not owner.held else owner
    ends = own.held and not hold.held
    watch = {name: getattr(owner, name) for name in _FOLLOWED_WATCH}
    watch |= {name: getattr(hold, name) for name in ("held", *HOLD_FIELDS)}
    strange = [name for name in own.ended_holds if name not in owner.ended_holds]
    watch["ended_holds"] = (*strange, *owner.ended_holds)[-ENDED_KEPT:]
    orders = {name: getattr(owner, name) for name in _FOLLOWED_ORDERS}
    releases = max(own.releases + ends, owner.releases)
    if releases != own.releases or _differs(own, watch):
        watch |= {"releases": releases, "watched": max(own.watched, owner.watched) + 1}
    if _differs(own, orders):
        orders |= {"orders": max(own.orders, owner.orders) + 1}
    return replace(own, **watch, **orders)


def _differs(state: GateState, values: Mapping[str, Any]) -> bool:
    return any(getattr(state, name) != value for name, value in values.items())


def with_elsewhere(state: GateState, first: int, last: int) -> GateState:
    """The state with one more run of epochs that another agent has begun, whose ledger is not this agent's."""
    if first > last or any(begin <= first and last <= end for begin, end in state.elsewhere):
        return state
    apart = [run for run in state.elsewhere if run[1] + 1 < first or last + 1 < run[0]]
    touching = [run for run in state.elsewhere if run not in apart]
    joined = min([first, *(run[0] for run in touching)]), max([last, *(run[1] for run in touching)])
    runs = tuple(sorted([*apart, joined])[-ELSEWHERE_KEPT:])
    return replace(state, elsewhere=runs, watched=state.watched + 1)
