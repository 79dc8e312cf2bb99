"""The enrolled versions of each product: shown, activated, rolled back, their threshold moved, removed, imported.

Each change stands in the audit with its user and reason. Running agents follow within seconds. Functions that name a
product raise RegistryError where there is no such product or version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from inspector.config.config import Config
from inspector.domain import ProductVersion
from inspector.errors import RegistryError
from inspector.operation.opening import registry_of
from inspector.store.registry.registry import SqlRegistry
from inspector.vision.artifacts.format import read_manifest, unpack
from inspector.vision.artifacts.thresholds import EnrolledThreshold


@dataclass(frozen=True, slots=True)
class ExportedVersion:
    """A version and the bytes of its artifact."""

    version: ProductVersion
    artifact: bytes


@dataclass(frozen=True, slots=True)
class ImportedVersion:
    """A version taken in. `was_there`: the registry had the same artifact already, so that none was added."""

    version: ProductVersion
    was_there: bool


async def all_versions(config: Config) -> list[ProductVersion]:
    """Every version of every product."""
    async with registry_of(config) as registry:
        return await registry.products()


async def versions_of(config: Config, product: str) -> list[ProductVersion]:
    """The product's versions, oldest first."""
    async with registry_of(config) as registry:
        return await _versions(registry, product)


def chosen_version(versions: Sequence[ProductVersion], number: int | None) -> ProductVersion:
    """The version of that number; for None the live one, else the newest. Raises RegistryError."""
    if number is None:
        return next((version for version in versions if version.is_live), versions[-1])
    for version in versions:
        if version.version == number:
            return version
    numbers = ", ".join(str(version.version) for version in versions)
    raise RegistryError(f"{versions[0].product} has no version {number}; its versions are {numbers}.")


async def activate(config: Config, product: str, number: int, *, by: str, reason: str) -> ProductVersion:
    """The version, now live."""
    async with registry_of(config) as registry:
        chosen_version(await _versions(registry, product), number)
        return await registry.activate(product, number, by=by, reason=reason)


async def roll_back(config: Config, product: str, *, by: str, reason: str) -> ProductVersion:
    """The version that was live before, now live again."""
    async with registry_of(config) as registry:
        await _versions(registry, product)
        return await registry.rollback(product, by=by, reason=reason)


async def version_of(config: Config, product: str, number: int | None) -> ProductVersion:
    """As `chosen_version`."""
    return chosen_version(await versions_of(config, product), number)


async def move_threshold(
    config: Config, product: str, number: int | None, level: float, *, by: str, reason: str
) -> ProductVersion:
    """The version, which now rejects above `level`; 1 is the threshold that its enrolment chose."""
    async with registry_of(config) as registry:
        version = chosen_version(await _versions(registry, product), number)
        score = EnrolledThreshold.of(version.manifest).score_at(level)
        return await registry.move_threshold(product, version.version, score, by=by, reason=reason)


async def remove(config: Config, product: str, *, by: str, reason: str) -> None:
    """No version of the product judges from now on. Its versions and results stay."""
    async with registry_of(config) as registry:
        await _versions(registry, product)
        await registry.remove(product, by=by, reason=reason)


async def export_version(config: Config, product: str, number: int | None) -> ExportedVersion:
    """A version with its artifact, to be imported on another line."""
    async with registry_of(config) as registry:
        version = chosen_version(await _versions(registry, product), number)
        return ExportedVersion(version, await registry.artifact(product, version.version))


async def import_version(config: Config, artifact: bytes, *, activates: bool, by: str) -> ImportedVersion:
    """The artifact as the next version of its product. Raises ArtifactError for what an agent could not load."""
    product = unpack(artifact).product  # unpacks and checks every part of the artifact
    manifest, digest = read_manifest(artifact), hashlib.sha256(artifact).hexdigest()
    async with registry_of(config) as registry:
        for known in await registry.products():
            if (known.product, known.digest) != (product, digest):
                continue
            if not activates:
                return ImportedVersion(known, was_there=True)
            version = await registry.activate(known.product, known.version, by=by, reason="imported again")
            return ImportedVersion(version, was_there=True)
        version = await registry.add_version(product, artifact, manifest, by=by, activate=activates)
        return ImportedVersion(version, was_there=False)


async def _versions(registry: SqlRegistry, product: str) -> list[ProductVersion]:
    versions = await registry.products()
    own = [version for version in versions if version.product == product]
    if not own:
        known = ", ".join(sorted({version.product for version in versions}))
        there_is = f"the products are {known}." if known else "none is enrolled yet; `inspector enroll` makes one."
        raise RegistryError(f"There is no product {product}; {there_is}")
    return own
