"""Holds on results that must be kept however old they are: added, listed, released. Each change is audited."""

from __future__ import annotations

from dataclasses import dataclass

from inspector.agent.clock import SystemClock
from inspector.config.config import Config
from inspector.operation.opening import database_of
from inspector.operation.reasons import ensure_reason
from inspector.store.retention import holds
from inspector.store.retention.holds import Hold, Selection


@dataclass(frozen=True, slots=True)
class AddedHold:
    """A new hold. `keeps_any`: the store has at least one result that it keeps."""

    hold: Hold
    keeps_any: bool


async def add_hold(config: Config, selection: Selection, *, by: str, reason: str) -> AddedHold:
    """A hold on the selected results. Raises UsageError for an empty selection or reason."""
    ensure_reason(reason, "A hold")
    async with database_of(config) as database:
        hold = await holds.add(database, SystemClock(), selection, by=by, reason=reason)
        return AddedHold(hold, await holds.keeps_any(database, hold))


async def list_holds(config: Config, *, with_released: bool) -> list[Hold]:
    """The holds in effect, and those that were released if wanted."""
    async with database_of(config) as database:
        return await holds.listed(database, with_released=with_released)


async def release_hold(config: Config, number: int, *, by: str, reason: str) -> Hold:
    """The hold, now released: retention rules apply again to what it kept. Raises UsageError."""
    ensure_reason(reason, "The release of a hold")
    async with database_of(config) as database:
        return await holds.release(database, SystemClock(), number, by=by, reason=reason)
