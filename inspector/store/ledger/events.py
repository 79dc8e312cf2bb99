"""Events, read for people: what happened beside the frames."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from inspector.domain import Event, Severity
from inspector.errors import RowDamaged
from inspector.store.database import Database
from inspector.store.row_mapping import storable
from inspector.store.tables import events


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Selects events; None means any. `until` is not included."""

    kind: str | None = None
    subject: str | None = None
    severity: Severity | None = None
    since: datetime | None = None
    until: datetime | None = None


async def newest_events(database: Database, wanted: EventFilter, *, limit: int) -> list[Event]:
    """The newest `limit` events, newest first. Raises RowDamaged for an unknown severity."""
    conditions = [
        events.c[name] == storable(value)
        for name in ("kind", "subject", "severity")
        if (value := getattr(wanted, name)) is not None
    ]
    if wanted.since is not None:
        conditions.append(events.c.at >= wanted.since)
    if wanted.until is not None:
        conditions.append(events.c.at < wanted.until)
    query = sa.select(events).where(*conditions).order_by(events.c.id.desc()).limit(limit)
    return await _read(database, query)


async def events_about(database: Database, subject: str, kinds: Collection[str], since: datetime) -> list[Event]:
    """The events of these kinds about a subject since that time, newest first. Raises RowDamaged as above."""
    conditions = (events.c.subject == storable(subject), events.c.kind.in_(sorted(kinds)), events.c.at >= since)
    return await _read(database, sa.select(events).where(*conditions).order_by(events.c.id.desc()))


async def _read(database: Database, query: sa.Select[Any]) -> list[Event]:
    async with database.reading() as connection:
        rows = (await connection.execute(query)).mappings().all()
    try:
        return [Event(row["at"], row["kind"], Severity(row["severity"]), row["subject"], row["detail"]) for row in rows]
    except ValueError as error:
        raise RowDamaged(f"An event holds a word that is none of ours ({error}); mend it in the database.") from error
