"""The signatures of versions, and the public keys that count, in the tables of the registry."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from inspector.domain import Signature, TrustedKey
from inspector.store.tables import product_versions, signing_keys, version_signatures

OF_VERSION: Final = "version"
OF_THRESHOLD: Final = "threshold"

_SUBJECTS: Final = {subject: version_signatures.alias(f"of_{subject}") for subject in (OF_VERSION, OF_THRESHOLD)}
_FIELDS: Final = ("key", "statement", "value")


def columns() -> list[sa.ColumnElement[Any]]:
    """The columns that `signature_of` reads, of a query that `joined` has joined."""
    return [table.c[field].label(f"{subject}_{field}") for subject, table in _SUBJECTS.items() for field in _FIELDS]


def joined(query: sa.Select[Any]) -> sa.Select[Any]:
    """The query over versions, with both signatures of each version where it has them."""
    for subject, table in _SUBJECTS.items():
        is_its = sa.and_(
            table.c.product == product_versions.c.product,
            table.c.version == product_versions.c.version,
            table.c.subject == subject,
        )
        query = query.outerjoin(table, is_its)
    return query


def signature_of(row: Mapping[Any, Any], subject: str) -> Signature | None:
    """The signature in a row of such a query."""
    if row[f"{subject}_value"] is None:
        return None
    return Signature(*(row[f"{subject}_{field}"] for field in _FIELDS))


async def put(
    connection: AsyncConnection, of: tuple[str, int, str], signature: Signature | None, now: datetime
) -> None:
    """Replace the signature of a product, version and subject; None takes it away."""
    product, version, subject = of
    table = version_signatures
    is_its = sa.and_(table.c.product == product, table.c.version == version, table.c.subject == subject)
    await connection.execute(sa.delete(table).where(is_its))
    if signature is not None:
        row = {"product": product, "version": version, "subject": subject, "signed_at": now}
        await connection.execute(table.insert().values(**row, **{each: getattr(signature, each) for each in _FIELDS}))


async def trusted_keys(connection: AsyncConnection) -> tuple[TrustedKey, ...]:
    """The keys that count, by name."""
    rows = (await connection.execute(sa.select(signing_keys).order_by(signing_keys.c.name))).mappings()
    return tuple(TrustedKey(**row) for row in rows)


async def add_key(connection: AsyncConnection, key: TrustedKey) -> None:
    fields = ("name", "text", "fingerprint", "is_own", "added_at", "added_by")
    await connection.execute(signing_keys.insert().values(**{each: getattr(key, each) for each in fields}))


async def remove_key(connection: AsyncConnection, name: str) -> None:
    await connection.execute(sa.delete(signing_keys).where(signing_keys.c.name == name))
