"""What was done and what happened, read for people: the audit with its chain, and the events."""

from __future__ import annotations

from dataclasses import dataclass

from inspector.config.config import Config
from inspector.domain import Event
from inspector.operation.opening import database_of
from inspector.store import audit
from inspector.store.audit import AuditFilter
from inspector.store.ledger.events import EventFilter, newest_events
from inspector.store.stored_records import AuditEntry


@dataclass(frozen=True, slots=True)
class ChainCheck:
    """Whether the audit's chain of hashes holds. `broken`: the numbers of the entries at which it does not.

    `last_hash`: that of the newest entry. Whoever keeps it elsewhere can tell later whether the end was cut off.
    """

    entries: int
    broken: tuple[int, ...]
    last_hash: str

    @property
    def holds(self) -> bool:
        return not self.broken


async def newest_entries(config: Config, wanted: AuditFilter, limit: int) -> list[AuditEntry]:
    """The newest `limit` entries of the audit, newest first."""
    async with database_of(config) as database:
        return await audit.listed(database, wanted, limit=limit)


async def check_chain(config: Config) -> ChainCheck:
    """Read the whole audit, and check each entry against the one before it."""
    async with database_of(config) as database:
        broken = await audit.verify(database)
        newest = await audit.listed(database, AuditFilter(), limit=1)
        number = await audit.count(database)
    return ChainCheck(number, tuple(broken), newest[0].hash if newest else audit.FIRST_HASH)


async def events_of(config: Config, wanted: EventFilter, limit: int) -> list[Event]:
    """The newest `limit` events, newest first."""
    async with database_of(config) as database:
        return await newest_events(database, wanted, limit=limit)
