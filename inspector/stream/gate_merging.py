"""Which of two states of one gate holds: they may come from two agents, or from before and after a command. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from inspector.domain import GateState, HoldNote

COMMANDED_FIELDS = ("mode", "mode_expires_at", "jobs", "orders")
"""Fields of a gate's state that only commands change."""

HOLD_FIELDS: Final = ("held_for", "held_since", "held_by")
"""What is known about the hold of a gate."""

WATCHED_FIELDS: Final = ("reject_streak", "held", *HOLD_FIELDS, "storm", "releases", "watched", "golden", "ended_holds")
"""Fields of a gate's state about holds and challenges. Only a release ends a hold; no other state may undo it."""


ENDED_KEPT: Final = 16
"""Names of ended holds that are remembered for a gate, the last ones."""


def hold_name(state: GateState) -> str | None:
    """The name of the hold that a gate is under, the same for all agents; None for no hold, or one of old software."""
    if not state.held or state.held_by is None or state.held_since is None:
        return None
    return f"{state.held_by}@{state.held_since.isoformat(timespec='milliseconds')}"


def watched_fields(first: GateState, second: GateState) -> dict[str, Any]:
    """The fields about holds of both states together: a hold of either, unless the other has been released since.

    The counts come from the state that was changed more often; at equal numbers of changes from `first`.
    """
    if first.releases != second.releases:
        newer = max(first, second, key=lambda state: state.releases)
        return _fields(newer) | {"elsewhere": newer.elsewhere or first.elsewhere or second.elsewhere}
    newer, older = (first, second) if first.watched >= second.watched else (second, first)
    holds = {name: getattr(newer, name) or getattr(older, name) for name in HOLD_FIELDS}
    elsewhere = newer.elsewhere or older.elsewhere  # the owner of a gate does not tell its own
    return _fields(newer) | {"held": first.held or second.held, "elsewhere": elsewhere} | holds


def undone(changed: GateState, before: GateState) -> GateState:
    """A state that a ledger takes after `changed`, with mode, jobs, holds and challenges as they were `before` it."""
    own = {name: getattr(before, name) for name in (*COMMANDED_FIELDS, *WATCHED_FIELDS)}
    counts = {"orders": changed.orders + 1, "releases": changed.releases, "watched": changed.watched + 1}
    return replace(changed, **own | counts)


def with_holds(gates: Mapping[str, GateState], holds: Iterable[HoldNote]) -> dict[str, GateState]:
    """The stored states by gate, with the holds that the journal has and the ledger has not, unless released since."""
    states = dict(gates)
    for hold in holds:
        state = states.get(hold.gate, GateState(hold.gate))
        if hold.releases >= state.releases and not state.held:
            states[hold.gate] = replace(
                state,
                held=True,
                held_for=hold.held_for,
                held_since=hold.since,
                held_by=hold.by,
                releases=hold.releases,
                watched=state.watched + 1,
            )
    return states


def _fields(state: GateState) -> dict[str, Any]:
    return {name: getattr(state, name) for name in WATCHED_FIELDS}
