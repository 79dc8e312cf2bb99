"""What was done and what happened, read for people: the audit with its chain, and the events."""

from __future__ import annotations

from dataclasses import dataclass

from inspector.agent.clock import SystemClock
from inspector.config.config import Config
from inspector.domain import Event
from inspector.operation.opening import database_of
from inspector.store import audit
from inspector.store.audit import AuditFilter, AuditHead, ChainState
from inspector.store.ledger.events import EventFilter, newest_events
from inspector.store.stored_records import AuditEntry


@dataclass(frozen=True, slots=True)
class ChainCheck:
    """What reading the audit's chain said. `head`: its end. `missing`: what is not as an earlier head says, or None."""

    state: ChainState
    head: AuditHead
    missing: str | None = None

    @property
    def holds(self) -> bool:
        return self.state.holds and self.missing is None


async def newest_entries(config: Config, wanted: AuditFilter, limit: int) -> list[AuditEntry]:
    """The newest `limit` entries of the audit, newest first."""
    async with database_of(config) as database:
        return await audit.listed(database, wanted, limit=limit)


async def check_chain(config: Config, earlier: AuditHead | None = None) -> ChainCheck:
    """Read the whole audit, and check each entry against the one before it, and all against an earlier head."""
    async with database_of(config) as database:
        state = await audit.state(database)
        missing = None if earlier is None else await audit.missing(database, earlier)
        return ChainCheck(state, await audit.head(database, SystemClock().now()), missing)


async def chain_head(config: Config) -> AuditHead:
    """The end of the audit's chain now."""
    async with database_of(config) as database:
        return await audit.head(database, SystemClock().now())


async def events_of(config: Config, wanted: EventFilter, limit: int) -> list[Event]:
    """The newest `limit` events, newest first."""
    async with database_of(config) as database:
        return await newest_events(database, wanted, limit=limit)
