"""People of the console and their sessions. Every change of a person stands in the audit.

Passwords come here as hashes, and session tokens leave no trace but their SHA-256: who reads the database can't sign in
with what stands there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from inspector.domain import BrowserSession, Person, Role
from inspector.errors import RowDamaged, UsageError
from inspector.store import audit
from inspector.store.audit import Change
from inspector.store.database import Database
from inspector.store.row_mapping import storable
from inspector.store.tables import people, sessions

_PEOPLE: Final = people.c
_SESSIONS: Final = sessions.c


async def list_people(database: Database) -> list[Person]:
    """Everybody, by name."""
    async with database.reading() as connection:
        rows = (await connection.execute(sa.select(people).order_by(_PEOPLE.name))).mappings().all()
    return [_person(row) for row in rows]


async def has_people(database: Database) -> bool:
    """Whether anybody may sign in at all."""
    async with database.reading() as connection:
        return (await connection.execute(sa.select(_PEOPLE.name).limit(1))).first() is not None


async def credentials_of(database: Database, name: str) -> tuple[Person, str] | None:
    """The person with the hash of the password; None if there is no such person."""
    async with database.reading() as connection:
        query = sa.select(people).where(_PEOPLE.name == storable(name))
        row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else (_person(row), row["password_hash"])


async def add_person(
    database: Database, name: str, role: Role, password_hash: str, *, now: datetime, by: str, reason: str
) -> Person:
    """The new person. Raises UsageError for a name that is taken."""
    async with database.writing() as connection:
        if await _find(connection, name) is not None:
            raise UsageError(f"There is somebody named {name} already; take another name.")
        row = {
            "name": name,
            "role": role.value,
            "password_hash": password_hash,
            "created_at": now,
            "changed_at": now,
            "is_locked": False,
        }
        await connection.execute(people.insert(), row)
        await audit.append(connection, now, Change(by, _object(name), None, role.value, reason))
    return Person(name, role, now, now)


async def set_password(
    database: Database, name: str, password_hash: str, *, now: datetime, by: str, reason: str
) -> None:
    """Replace the password and end the person's sessions. Raises UsageError for an unknown person."""
    async with database.writing() as connection:
        await _known(connection, name)
        await _update(connection, name, {"password_hash": password_hash, "is_locked": False}, now)
        await audit.append(connection, now, Change(by, _object(name), "password", "new password", reason))


async def set_role(
    database: Database, name: str, role: Role, *, is_locked: bool, now: datetime, by: str, reason: str
) -> None:
    """Change what the person may do, and end the person's sessions.

    Raises UsageError for an unknown person, and where no engineer would be left who may sign in.
    """
    async with database.writing() as connection:
        await audit.hold_lock(connection)
        before = await _known(connection, name)
        await _update(connection, name, {"role": role.value, "is_locked": is_locked}, now)
        left = sa.select(sa.func.count()).where(_PEOPLE.role == Role.ENGINEER.value, ~_PEOPLE.is_locked)
        if not (await connection.execute(left)).scalar_one():
            raise UsageError(f"{name} is the last engineer who may sign in; make somebody else one first.")
        old, new = (
            _state(each.role, is_locked=each.is_locked) for each in (before, Person(name, role, now, now, is_locked))
        )
        await audit.append(connection, now, Change(by, _object(name), old, new, reason))


async def open_session(
    database: Database, token: str, person: str, csrf: str, *, now: datetime, until: datetime
) -> None:
    """Keep a session, and forget those that are over."""
    row = {"token_sha256": _digest(token), "person": person, "csrf": csrf, "created_at": now, "expires_at": until}
    async with database.writing() as connection:
        await connection.execute(sessions.delete().where(_SESSIONS.expires_at <= now))
        await connection.execute(sessions.insert(), row)


async def find_session(database: Database, token: str, now: datetime) -> BrowserSession | None:
    """The session of that token with its person as that is now; None where it is over or the person is locked."""
    query = (
        sa.select(people, _SESSIONS.csrf, _SESSIONS.expires_at)
        .select_from(sessions.join(people, _PEOPLE.name == _SESSIONS.person))
        .where(_SESSIONS.token_sha256 == _digest(token), _SESSIONS.expires_at > now, ~_PEOPLE.is_locked)
    )
    async with database.reading() as connection:
        row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else BrowserSession(_person(row), row["csrf"], row["expires_at"])


async def close_session(database: Database, token: str) -> None:
    """Forget the session, if it is there."""
    async with database.writing() as connection:
        await connection.execute(sessions.delete().where(_SESSIONS.token_sha256 == _digest(token)))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _object(name: str) -> str:
    return f"person {name}"


def _state(role: Role, *, is_locked: bool) -> str:
    return f"{role.value}, locked" if is_locked else role.value


async def _find(connection: AsyncConnection, name: str) -> Person | None:
    query = sa.select(people).where(_PEOPLE.name == storable(name))
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else _person(row)


async def _known(connection: AsyncConnection, name: str) -> Person:
    person = await _find(connection, name)
    if person is None:
        raise UsageError(f"There is nobody named {name}.")
    return person


async def _update(connection: AsyncConnection, name: str, values: Mapping[str, Any], now: datetime) -> None:
    await connection.execute(people.update().where(_PEOPLE.name == name).values(**values, changed_at=now))
    await connection.execute(sessions.delete().where(_SESSIONS.person == name))


def _person(row: Mapping[Any, Any]) -> Person:
    try:
        role = Role(row["role"])
    except ValueError as error:
        raise RowDamaged(f"The role of {row['name']} can't be read ({error}); mend it in the table people.") from error
    return Person(row["name"], role, row["created_at"], row["changed_at"], row["is_locked"])
