"""Signs of life of agents, their ends and processors, and the state of gates."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from inspector.domain import Event, Severity
from inspector.store import tables
from inspector.store.database import Database
from inspector.store.inserts import insert_into


@dataclass(frozen=True, slots=True)
class SeenAgent:
    """An agent with its last sign of life, by its own clock.

    `ended_at`: when it was ended in order, None while it runs or if it was killed; `ended_by`: what asked for the end.
    """

    name: str
    software: str
    started_at: datetime
    seen_at: datetime
    ended_at: datetime | None = None
    ended_by: str = ""


@dataclass(frozen=True, slots=True)
class SeenGate:
    """A gate. `owner`: the agent that decides about its parts, None if none has ever said so; `owned_at`: when last."""

    name: str
    held: bool
    held_for: str | None
    held_since: datetime | None
    mode: str
    owner: str | None
    owned_at: datetime | None


async def note_alive(database: Database, agent: SeenAgent, config_digest: str) -> None:
    """Note that the agent lives. It is ended no more, if it was."""
    row = {
        "name": agent.name,
        "software": agent.software,
        "config_digest": config_digest,
        "started_at": agent.started_at,
        "seen_at": agent.seen_at,
        "ended_at": None,
        "ended_by": "",
    }
    async with database.writing() as connection:
        await connection.execute(_alive_statement(tuple(row), connection.dialect.name), row)


@functools.cache
def _alive_statement(columns: tuple[str, ...], dialect: str) -> Any:
    """Built once: each agent notes every second that it lives."""
    insert = insert_into(tables.agents, dialect)
    noted = {name: insert.excluded[name] for name in columns if name != "name"}
    return insert.on_conflict_do_update(index_elements=["name"], set_=noted)


async def note_ended(database: Database, name: str, at: datetime, by: str) -> None:
    """Note that the agent has ended in order. `by`: what asked for it, "" if nothing did."""
    columns = tables.agents.c
    async with database.writing() as connection:
        await connection.execute(
            tables.agents.update().where(columns.name == name).values(seen_at=at, ended_at=at, ended_by=by)
        )


async def note_processor(database: Database, name: str, at: datetime, processor: str) -> None:
    """Note on which processor the agent judges from now on, unless it did so already."""
    async with database.writing() as connection:
        if (await connection.execute(_newest_processor(name, at))).scalar_one_or_none() == processor:
            return
        insert = insert_into(tables.agent_processors, connection.dialect.name)
        row = {"agent": name, "since": at, "processor": processor}
        await connection.execute(insert.on_conflict_do_update(index_elements=["agent", "since"], set_=row), row)


async def processor_at(database: Database, name: str, at: datetime) -> str | None:
    """The processor on which the agent judged at this time; None if it was not recorded."""
    async with database.reading() as connection:
        found: str | None = (await connection.execute(_newest_processor(name, at))).scalar_one_or_none()
    return found


def _newest_processor(name: str, at: datetime) -> sa.Select[Any]:
    columns = tables.agent_processors.c
    query = sa.select(columns.processor).where(columns.agent == name, columns.since <= at)
    return query.order_by(columns.since.desc()).limit(1)


async def list_agents(database: Database) -> list[SeenAgent]:
    """All agents that ever said something, by name."""
    columns = tables.agents.c
    wanted = (columns[field.name] for field in fields(SeenAgent))
    async with database.reading() as connection:
        rows = (await connection.execute(sa.select(*wanted).order_by(columns.name))).mappings().all()
    return [SeenAgent(**row) for row in rows]


async def list_gates(database: Database) -> list[SeenGate]:
    """All gates that have a state or an owner, by name."""
    gates, owners = tables.gates.c, tables.gate_owners.c
    query = (
        sa.select(gates.name, gates.held, gates.held_for, gates.held_since, gates.mode, owners.agent, owners.seen_at)
        .select_from(tables.gates.outerjoin(tables.gate_owners, owners.gate == gates.name))
        .order_by(gates.name)
    )
    async with database.reading() as connection:
        rows = (await connection.execute(query)).mappings().all()
    return [
        SeenGate(
            name=row["name"],
            held=row["held"],
            held_for=row["held_for"],
            held_since=row["held_since"],
            mode=row["mode"],
            owner=row["agent"],
            owned_at=row["seen_at"],
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class NumberedEvent:
    """An event with its number, by which lists are paged."""

    number: int
    event: Event


async def list_events(
    database: Database, *, severity: Severity | None = None, before: int | None = None, limit: int
) -> list[NumberedEvent]:
    """The newest events, newest first."""
    columns = tables.events.c
    query = sa.select(tables.events).order_by(columns.id.desc()).limit(limit)
    if severity is not None:
        query = query.where(columns.severity == severity.value)
    if before is not None:
        query = query.where(columns.id < before)
    async with database.reading() as connection:
        rows = (await connection.execute(query)).mappings().all()
    return [
        NumberedEvent(
            row["id"], Event(row["at"], row["kind"], Severity(row["severity"]), row["subject"], row["detail"])
        )
        for row in rows
    ]


async def events_between(database: Database, kinds: Sequence[str], since: datetime, until: datetime) -> list[Event]:
    """The events of these kinds from `since` until `until`, oldest first."""
    columns = tables.events.c
    query = (
        sa.select(tables.events)
        .where(columns.at >= since, columns.at < until, columns.kind.in_(kinds))
        .order_by(columns.at, columns.id)
        .limit(10_000)
    )
    async with database.reading() as connection:
        rows = (await connection.execute(query)).mappings().all()
    return [Event(row["at"], row["kind"], Severity(row["severity"]), row["subject"], row["detail"]) for row in rows]
