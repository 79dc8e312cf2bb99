"""The registry: enrolled versions, and one pointer per product to the live one. Only a version's threshold may change.

Every change is one short transaction with its audit row, and raises the revision that agents poll. A change of
one product never touches the rows of another. The bytes of artifacts are not read here.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from inspector.config.section import NAME_PATTERN
from inspector.domain import ENROLLED_HERE, ExportedGraph, LiveSet, ProductVersion, Provenance, Signature, TrustedKey
from inspector.errors import ArtifactError, LedgerUnavailable, RegistryError, UsageError
from inspector.ports import Clock
from inspector.store import audit
from inspector.store.audit import Change
from inspector.store.database import Database
from inspector.store.registry import graphs, signatures
from inspector.store.registry.signatures import OF_THRESHOLD, OF_VERSION
from inspector.store.tables import as_bytes, product_versions, products, registry_revision
from inspector.store.tables import audit as audit_rows

_MOST_BEFORE: Final = 100
"""Most earlier live versions of a product that are kept for `rollback`."""

_DESCRIBED: Final = [
    *(column for column in product_versions.c if column.name not in ("artifact", "manifest")),
    sa.type_coerce(product_versions.c.manifest, sa.Text).label("manifest"),
]


@dataclass(frozen=True, slots=True)
class _Motive:
    by: str
    reason: str


class SqlRegistry:
    """The port `Registry` on a `Database`, which the caller opens and closes.

    Entering checks the schema, as in the ledger. If the database is unavailable, the schema is checked later.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self._clock = clock

    async def __aenter__(self) -> Self:
        with contextlib.suppress(LedgerUnavailable):  # every method raises it until the database is back
            await self.database.ensure_current()
        return self

    async def __aexit__(self, *exc: object) -> None: ...

    async def revision(self) -> str:
        await self.database.ensure_current()
        async with self.database.reading_once() as connection:
            return await _revision(connection)

    async def live(self) -> LiveSet:
        await self.database.ensure_current()
        pointed = sa.or_(
            product_versions.c.version == products.c.live_version,
            product_versions.c.version == products.c.shadow_version,
        )
        async with self.database.reading() as connection:
            # The revision is read first: if it moves before the versions are read, the next poll reads again.
            revision = await _revision(connection)
            versions = await _versions(connection, pointed)
        return LiveSet(
            revision=revision,
            versions=tuple(version for version in versions if version.is_live),
            shadows=tuple(version for version in versions if version.is_shadow),
        )

    async def products(self) -> list[ProductVersion]:
        await self.database.ensure_current()
        async with self.database.reading() as connection:
            return await _versions(connection)

    async def artifact(self, product: str, version: int) -> bytes:
        """The bytes of an artifact. Raises RegistryError for an unknown version, ArtifactError for damaged bytes."""
        await self.database.ensure_current()
        content = as_bytes(product_versions.c.artifact).label("artifact")
        query = sa.select(content, product_versions.c.digest).where(_is(product, version))
        async with self.database.reading() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise _no_version(product, version)
        digest = await asyncio.to_thread(lambda: hashlib.sha256(row.artifact).hexdigest())
        if digest != row.digest:
            raise ArtifactError(f"The stored artifact of {product} version {version} is damaged; enrol it again.")
        return bytes(row.artifact)

    async def signing_keys(self) -> tuple[TrustedKey, ...]:
        await self.database.ensure_current()
        async with self.database.reading() as connection:
            return await signatures.trusted_keys(connection)

    async def add_key(self, key: TrustedKey, *, by: str, reason: str) -> None:
        """Let a key's signatures count from now on. Raises UsageError where its name or the key itself is there."""
        await self.database.ensure_current()
        async with self.database.writing() as connection:
            await audit.hold_lock(connection)
            for known in await signatures.trusted_keys(connection):
                if known.name == key.name or known.fingerprint == key.fingerprint:
                    raise UsageError(
                        f"There is a key {known.name} already, with the fingerprint {known.fingerprint}; "
                        "`inspector keys forget` takes it away."
                    )
            await signatures.add_key(connection, key)
            what = f"{'made here' if key.is_own else 'trusted'}, ed25519 {key.text}"
            change = Change(by, f"key/{key.name}", None, f"{key.fingerprint} ({what})", reason)
            await audit.append(connection, self._clock.now(), change)
            await _revise(connection)

    async def forget_key(self, name: str, *, by: str, reason: str) -> TrustedKey:
        """The key, whose signatures count no more. Raises UsageError where there is none of that name."""
        await self.database.ensure_current()
        async with self.database.writing() as connection:
            await audit.hold_lock(connection)
            keys = {key.name: key for key in await signatures.trusted_keys(connection)}
            if name not in keys:
                raise UsageError(f"There is no key {name}; `inspector keys list` shows those that there are.")
            await signatures.remove_key(connection, name)
            change = Change(by, f"key/{name}", keys[name].fingerprint, None, reason)
            await audit.append(connection, self._clock.now(), change)
            await _revise(connection)
            return keys[name]

    async def sign(
        self,
        product: str,
        version: int,
        signature: Signature,
        *,
        by: str,
        reason: str,
        of_threshold: Signature | None = None,
    ) -> ProductVersion:
        await self.database.ensure_current()
        async with self.database.writing() as connection:
            await audit.hold_lock(connection)
            before = await _version(connection, product, version)
            for subject, each in ((OF_VERSION, signature), (OF_THRESHOLD, of_threshold)):
                await signatures.put(connection, (product, version, subject), each, self._clock.now())
            what = f"product/{product}/version {version}/signature"
            old = None if before.signature is None else before.signature.key
            await audit.append(connection, self._clock.now(), Change(by, what, old, signature.key, reason))
            await _revise(connection)
            return await _version(connection, product, version)

    async def graph_keys(self) -> frozenset[str]:
        await self.database.ensure_current()
        async with self.database.reading() as connection:
            return await graphs.names(connection)

    async def graph(self, name: str) -> ExportedGraph | None:
        """The graph of that name; None if there is none. Raises ArtifactError for damaged bytes."""
        await self.database.ensure_current()
        async with self.database.reading() as connection:
            return await graphs.read(connection, name)

    async def add_graph(self, graph: ExportedGraph, *, is_apart: bool = False) -> None:
        """Keep a graph. One that is here already stays, unless it is damaged. `is_apart`: never under its key alone."""
        await self.database.ensure_current()
        async with self.database.writing() as connection:
            await graphs.add(connection, graph, self._clock.now(), is_apart=is_apart)

    async def add_version(
        self,
        product: str,
        artifact: bytes,
        manifest: dict[str, Any],
        *,
        by: str,
        activate: bool,
        shadow: bool = False,
        provenance: Provenance = ENROLLED_HERE,
    ) -> ProductVersion:
        """Add a version. Raises UsageError for a name that is not allowed, and for live and shadow at once.

        Raises ArtifactError for a manifest without `head` and `threshold`; its `profile` may be missing ("standard").
        """
        if not re.fullmatch(NAME_PATTERN, product):
            raise UsageError(f"{product!r} can't name a product; use letters, digits, '_', '.' and '-', 64 at most.")
        if activate and shadow:
            raise UsageError("A version can't be live and shadow at once; choose one.")
        row = {**_described(product, manifest), "size_bytes": len(artifact), "created_by": by, "artifact": artifact}
        row["digest"] = await asyncio.to_thread(lambda: hashlib.sha256(artifact).hexdigest())
        await self.database.ensure_current()
        async with self.database.writing() as connection:
            await audit.hold_lock(connection)
            number = await self._next_number(connection, product)
            await connection.execute(
                product_versions.insert().values(**row, version=number, created_at=self._clock.now())
            )
            enrolled = Change(by, f"product/{product}", None, _named(number), f"enrolled, sha256 {row['digest']}")
            await audit.append(connection, self._clock.now(), enrolled)
            if provenance.origin is not None:
                come = Change(by, _origin_of(product, number), None, provenance.origin, provenance.origin_reason)
                await audit.append(connection, self._clock.now(), come)
            of = (product, number, OF_VERSION)
            await signatures.put(connection, of, provenance.signature, self._clock.now())
            if activate:
                await self._point(connection, product, number, _Motive(by, provenance.reason))
            if shadow:
                pointed = await _product(connection, product)
                await self._move(connection, pointed, {"shadow_version": number}, _Motive(by, "enrolled as shadow"))
            return await _version(connection, product, number)

    async def previous(self, product: str) -> int | None:
        """The version that `rollback` would make live; None if no version was live before. Raises RegistryError."""
        await self.database.ensure_current()
        async with self.database.reading() as connection:
            before = (await _product(connection, product))["live_before"]
        return before[-1] if before else None

    async def activate(self, product: str, version: int, *, by: str, reason: str) -> ProductVersion:
        """Make a version live; does nothing if it is live already. Raises RegistryError for an unknown version."""
        await self.database.ensure_current()
        async with self.database.writing() as connection:
            await audit.hold_lock(connection)
            current = await _version(connection, product, version)
            if current.is_live:
                return current
            await self._point(connection, product, version, _Motive(by, reason))
            return await _version(connection, product, version)

    async def rollback(self, product: str, *, by: str, reason: str) -> ProductVersion:
        await self.database.ensure_current()
        async with self.database.writing() as connection:
            await audit.hold_lock(connection)
            row = await _product(connection, product)
            if not row["live_before"]:
                raise _nothing_before(product, row["live_version"])
            *before, version = row["live_before"]
            moved = {"live_version": version, "live_before": before}
            await self._move(connection, row, moved, _Motive(by, reason))
            return await _version(connection, product, version)

    async def move_threshold(
        self,
        product: str,
        version: int,
        threshold: float,
        *,
        by: str,
        reason: str,
        signature: Signature | None = None,
    ) -> ProductVersion:
        """Set a version's threshold; does nothing if it is the same. Raises RegistryError for an unknown version."""
        await self.database.ensure_current()
        async with self.database.writing() as connection:
            await audit.hold_lock(connection)
            current = await _version(connection, product, version)
            if current.threshold == threshold:
                return current
            moved = product_versions.update().where(_is(product, version)).values(threshold=threshold)
            await connection.execute(moved)
            await signatures.put(connection, (product, version, OF_THRESHOLD), signature, self._clock.now())
            what = f"product/{product}/version {version}/threshold"
            change = Change(by, what, f"{current.threshold:.6g}", f"{threshold:.6g}", reason)
            await audit.append(connection, self._clock.now(), change)
            await _revise(connection)
            return await _version(connection, product, version)

    async def set_shadow(self, product: str, version: int | None, *, by: str, reason: str) -> ProductVersion | None:
        """Move the shadow pointer; does nothing if it stands there already. Raises RegistryError as the port says."""
        await self.database.ensure_current()
        async with self.database.writing() as connection:
            await audit.hold_lock(connection)
            row = await _product(connection, product)
            chosen = None if version is None else await _version(connection, product, version)
            if chosen is not None and chosen.is_live:
                raise RegistryError(
                    f"Version {version} of {product} is live; a shadow is another version that is compared with it."
                )
            if row["shadow_version"] == version:
                return chosen
            await self._move(connection, row, {"shadow_version": version}, _Motive(by, reason))
            return None if version is None else await _version(connection, product, version)

    async def remove(self, product: str, *, by: str, reason: str) -> None:
        """Take a product out of the live set; `rollback` or `activate` undo this.

        Raises RegistryError if the product has no live and no shadow version."""
        await self.database.ensure_current()
        async with self.database.writing() as connection:
            await audit.hold_lock(connection)
            row = await _product(connection, product)
            if row["live_version"] is None and row["shadow_version"] is None:
                raise RegistryError(f"{product} is not live; there is nothing to remove.")
            moved = {"live_version": None, "shadow_version": None, "live_before": _before(row)}
            await self._move(connection, row, moved, _Motive(by, reason))

    async def _next_number(self, connection: AsyncConnection, product: str) -> int:
        """Ensure that the product has a row, and return its next version number."""
        newest = sa.select(sa.func.max(product_versions.c.version)).where(product_versions.c.product == product)
        number = (await connection.execute(newest)).scalar_one_or_none()
        if number is not None:
            return int(number) + 1
        now = self._clock.now()
        await connection.execute(products.insert().values(name=product, live_before=[], created_at=now, updated_at=now))
        return 1

    async def _point(self, connection: AsyncConnection, product: str, version: int, motive: _Motive) -> None:
        """Move the pointer; the version that was live is kept for `rollback`."""
        row = await _product(connection, product)
        await self._move(connection, row, {"live_version": version, "live_before": _before(row)}, motive)

    async def _move(
        self, connection: AsyncConnection, row: Mapping[Any, Any], moved: dict[str, Any], motive: _Motive
    ) -> None:
        """Set pointers, write an audit row for each pointer that moved, and raise the revision."""
        product, now = row["name"], self._clock.now()
        if row["shadow_version"] is not None and moved.get("live_version") == row["shadow_version"]:
            moved = {**moved, "shadow_version": None}
        await connection.execute(products.update().where(products.c.name == product).values(**moved, updated_at=now))
        for pointer, what in (("live_version", "live"), ("shadow_version", "shadow")):
            if pointer in moved and moved[pointer] != row[pointer]:
                old, new = _named(row[pointer]), _named(moved[pointer])
                if what == "live" and moved[pointer] is not None:
                    new = await _told_live(connection, product, moved[pointer])
                change = Change(motive.by, f"product/{product}/{what}", old, new, motive.reason)
                await audit.append(connection, now, change)
        await _revise(connection)


def _nothing_before(product: str, live: int | None) -> RegistryError:
    """For a rollback that has no version to go back to. `live`: the version that judges now, if any."""
    activate = f'`inspector products activate {product} VERSION --reason "..."`'
    if live is None:
        return RegistryError(f"No version of {product} was live so far; {activate} makes one live.")
    # A version that was rolled back was live too, so nobody may be told that none was.
    return RegistryError(
        f"Version {live} of {product} is live, and a rollback has no earlier one to go back to; {activate} makes any "
        "other version live, also one that was rolled back."
    )


async def _told_live(connection: AsyncConnection, product: str, number: int) -> str:
    """The version that goes live, with what it judges by, who vouches for it, and where it came from."""
    version = await _version(connection, product, number)
    origin = sa.select(audit_rows.c.new_value).where(audit_rows.c.object == _origin_of(product, number))
    come = (await connection.execute(origin.order_by(audit_rows.c.seq.desc()).limit(1))).scalar_one_or_none()
    names = {key.fingerprint: key.name for key in await signatures.trusted_keys(connection)}
    return version.told_live(names, come)


def _origin_of(product: str, version: int) -> str:
    """The audit's object of where a version came from."""
    return f"product/{product}/version {version}/origin"


async def _revise(connection: AsyncConnection) -> None:
    await connection.execute(registry_revision.update().values(revision=registry_revision.c.revision + 1))


def _described(product: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {
            "product": product,
            "head": str(manifest["head"]),
            "profile": str(manifest.get("profile", "standard")),
            "threshold": float(manifest["threshold"]),
            "manifest": dict(manifest),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"The manifest of {product} lacks a head or a threshold ({error}); enrol it again."
        ) from error


def _before(row: Mapping[Any, Any]) -> list[int]:
    """Versions to roll back to after the live one is replaced, oldest first."""
    before, live = list(row["live_before"]), row["live_version"]
    return before if live is None else [*before, live][-_MOST_BEFORE:]


def _named(version: int | None) -> str | None:
    return None if version is None else f"version {version}"


def _no_version(product: str, version: int) -> RegistryError:
    return RegistryError(f"There is no version {version} of a product {product}; see `inspector products list`.")


def _is(product: str, version: int) -> sa.ColumnElement[bool]:
    return sa.and_(product_versions.c.product == product, product_versions.c.version == version)


async def _revision(connection: AsyncConnection) -> str:
    number = (await connection.execute(sa.select(registry_revision.c.revision))).scalar_one()
    return f"r{number}"


async def _product(connection: AsyncConnection, product: str) -> Mapping[Any, Any]:
    row = (await connection.execute(sa.select(products).where(products.c.name == product))).mappings().one_or_none()
    if row is None:
        raise RegistryError(f"There is no product {product}; see `inspector products list`.")
    return row


async def _version(connection: AsyncConnection, product: str, version: int) -> ProductVersion:
    matching = await _versions(connection, _is(product, version))
    if not matching:
        raise _no_version(product, version)
    return matching[0]


def _manifest_in(stored: Any) -> dict[str, Any]:
    """The manifest, empty where it is damaged: the other products must be read, and this one is refused.

    `stored`: text from SQLite; PostgreSQL's driver has read it already.
    """
    try:
        found = orjson.loads(stored) if isinstance(stored, str | bytes) else stored
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _number_in(stored: Any) -> float:
    """The threshold, NaN where SQLite holds something else: other products must be read, and this one is refused."""
    number = float(stored) if isinstance(stored, float | int) else math.nan
    return math.nan if math.isnan(number) else number  # one object, so that a row equals itself


async def _versions(connection: AsyncConnection, *wanted: sa.ColumnElement[bool]) -> list[ProductVersion]:
    """Versions without their artifacts, by product and version."""
    columns = [*_DESCRIBED, products.c.live_version, products.c.shadow_version, *signatures.columns()]
    query = (
        signatures.joined(sa.select(*columns).join(products, products.c.name == product_versions.c.product))
        .where(*wanted)
        .order_by(product_versions.c.product, product_versions.c.version)
    )
    rows = (await connection.execute(query)).mappings().all()
    return await asyncio.to_thread(_versions_in, rows)  # the manifests of many products would hold the loop


def _versions_in(rows: Sequence[sa.RowMapping]) -> list[ProductVersion]:
    return [
        ProductVersion(
            product=row["product"],
            version=row["version"],
            head=row["head"],
            profile=row["profile"],
            digest=row["digest"],
            size_bytes=row["size_bytes"],
            created_at=row["created_at"],
            created_by=row["created_by"],
            manifest=_manifest_in(row["manifest"]),
            threshold=_number_in(row["threshold"]),
            is_live=row["version"] == row["live_version"],
            is_shadow=row["version"] == row["shadow_version"],
            signature=signatures.signature_of(row, OF_VERSION),
            threshold_signature=signatures.signature_of(row, OF_THRESHOLD),
        )
        for row in rows
    ]
