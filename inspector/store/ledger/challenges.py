"""Golden challenges as rows: written once open and once ended, and listed for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from inspector.domain import Challenge, ChallengeResult, Master, MasterAck, Outcome, SeenMaster
from inspector.errors import RowDamaged
from inspector.store.database import Database
from inspector.store.row_mapping import storable
from inspector.store.tables import challenges


async def insert_challenge(connection: AsyncConnection, challenge: Challenge) -> None:
    """Store a challenge that begins."""
    await connection.execute(challenges.insert(), challenge_row(challenge))


async def end_challenge(connection: AsyncConnection, challenge: Challenge, was: ChallengeResult) -> bool:
    """Store the end of a challenge. False if it is not stored as `was`: then nothing is written."""
    row = challenge_row(challenge)
    changed = {name: row[name] for name in ("ended", "product", "version", "seen", "acks", "result", "detail")}
    is_as_it_was = sa.and_(
        challenges.c.challenge_id == row["challenge_id"],
        challenges.c.gate == challenge.gate,
        challenges.c.result == was.value,
    )
    done = await connection.execute(challenges.update().where(is_as_it_was).values(**changed))
    return bool(done.rowcount)


async def find_challenge(database: Database, challenge_id: str, gate: str) -> Challenge | None:
    """The challenge with this id at this gate, or None."""
    query = sa.select(challenges).where(
        challenges.c.challenge_id == storable(challenge_id), challenges.c.gate == storable(gate)
    )
    async with database.reading() as connection:
        row = (await connection.execute(query.order_by(challenges.c.id.desc()).limit(1))).mappings().first()
    return None if row is None else challenge_of(row)


async def list_challenges(database: Database, gate: str | None = None, *, limit: int = 20) -> list[Challenge]:
    """The newest `limit` challenges of a gate (or of all), newest first."""
    query = sa.select(challenges).order_by(challenges.c.id.desc()).limit(limit)
    if gate is not None:
        query = query.where(challenges.c.gate == storable(gate))
    async with database.reading() as connection:
        rows = (await connection.execute(query)).mappings().all()
    return [challenge_of(row) for row in rows]


def challenge_row(challenge: Challenge) -> dict[str, Any]:
    """One row of `challenges`."""
    return {
        "challenge_id": storable(challenge.challenge_id),
        "gate": challenge.gate,
        "agent": challenge.agent,
        "by_name": storable(challenge.by),
        "reason": storable(challenge.reason),
        "begun": challenge.begun,
        "ended": challenge.ended,
        "within_s": challenge.within_s,
        "product": storable(challenge.product),
        "version": challenge.version,
        "expected": [_table(master) for master in challenge.expected],
        "seen": [_table(seen) for seen in challenge.seen],
        "acks": [_table(ack) for ack in challenge.acks],
        "result": challenge.result.value,
        "detail": storable(challenge.detail),
    }


def challenge_of(row: Mapping[Any, Any]) -> Challenge:
    """The challenge in a row. Raises RowDamaged for a row that can't be read."""
    try:
        return Challenge(
            challenge_id=row["challenge_id"],
            gate=row["gate"],
            agent=row["agent"],
            by=row["by_name"],
            reason=row["reason"],
            begun=row["begun"],
            within_s=row["within_s"],
            expected=tuple(Master(Outcome(each["expected"]), each["part_id"]) for each in row["expected"]),
            product=row["product"],
            version=row["version"],
            seen=tuple(SeenMaster(**each | {"outcome": Outcome(each["outcome"])}) for each in row["seen"]),
            acks=tuple(MasterAck(**each) for each in row["acks"]),
            result=ChallengeResult(row["result"]),
            ended=row["ended"],
            detail=row["detail"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise RowDamaged(
            f"The row of challenge {row['challenge_id']} can't be read ({error}); mend it in the database, or restore "
            "it from a backup."
        ) from error


def _table(part: Any) -> dict[str, Any]:
    return {name: storable(value) for name, value in asdict(part).items()}
