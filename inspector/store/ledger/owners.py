"""The agents and the gates that they own, as rows: how agents without a common broker see each other."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from inspector.domain import AgentPresence, GateOwner
from inspector.ports import OWNER_FORGOTTEN_S
from inspector.store import tables
from inspector.store.inserts import insert_into

LIVES_S: Final = 15.0
"""An agent that owns a gate says so here every 5 s."""


async def record_owned(
    connection: AsyncConnection,
    presence: AgentPresence,
    gates: Mapping[str, int],
    dead: Mapping[str, Collection[str]],
    now: datetime,
) -> list[GateOwner]:
    """The work of `Ledger.record_owned`, in the caller's transaction."""
    await _upsert_agent(connection, presence, now)
    owners = tables.gate_owners
    await connection.execute(
        owners.delete().where(owners.c.identity == presence.identity, owners.c.gate.not_in(list(gates)))
    )
    for gate, epoch in sorted(gates.items()):
        await _claim(connection, presence, gate, epoch, dead.get(gate, ()), now)
    stored = sa.select(owners).where(owners.c.gate.in_(list(gates)), owners.c.session != presence.session)
    return [
        GateOwner(row["gate"], row["agent"], row["session"], row["epoch"], row["seen_at"])
        for row in (await connection.execute(stored)).mappings()
    ]


async def list_owners(connection: AsyncConnection, now: datetime) -> list[tuple[GateOwner, str]]:
    """The owners that have said so within `LIVES_S`, each with its identity, by gate."""
    owners = tables.gate_owners
    query = sa.select(owners).where(owners.c.seen_at >= now - timedelta(seconds=LIVES_S)).order_by(owners.c.gate)
    return [
        (GateOwner(row["gate"], row["agent"], row["session"], row["epoch"], row["seen_at"]), row["identity"])
        for row in (await connection.execute(query)).mappings()
    ]


async def _upsert_agent(connection: AsyncConnection, presence: AgentPresence, now: datetime) -> None:
    row = {
        "name": presence.name,
        "software": presence.software,
        "config_digest": presence.config_digest,
        "started_at": presence.started_at,
        "seen_at": now,
        "session": presence.session,
        "ended_at": None,
        "ended_by": "",
    }
    await connection.execute(
        insert_into(tables.agents, connection.dialect.name).on_conflict_do_update(index_elements=["name"], set_=row),
        row,
    )


async def _claim(
    connection: AsyncConnection,
    presence: AgentPresence,
    gate: str,
    epoch: int,
    dead: Collection[str],
    now: datetime,
) -> None:
    old = tables.gate_owners.c
    row = {
        "gate": gate,
        "agent": presence.name,
        "identity": presence.identity,
        "session": presence.session,
        "epoch": epoch,
        "since": now,
        "seen_at": now,
    }
    statement = insert_into(tables.gate_owners, connection.dialect.name)
    is_same = old.session == presence.session
    replaced = {**row, "since": sa.case((is_same, old.since), else_=statement.excluded.since)}
    may_take = sa.or_(
        old.identity == presence.identity, old.session.in_(list(dead)), old.seen_at < _remembered_since(now)
    )
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["gate"], set_=replaced, where=may_take), row
    )


def _remembered_since(now: datetime) -> datetime:
    return now - timedelta(seconds=OWNER_FORGOTTEN_S)
