"""The enrolled versions of each product: shown, activated, rolled back, their threshold moved, removed, imported.

Each change stands in the audit with its user and reason. A change of what judges is refused with UsageError where the
reason is empty. Running agents follow within seconds. Functions that name a product raise RegistryError where there is
no such product or version.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inspector.config.config import Config
from inspector.domain import ExportedGraph, ProductVersion, Provenance
from inspector.errors import ArtifactError, RegistryError, UsageError
from inspector.operation.artifact_files import OfferedVersion
from inspector.operation.graphs import cache_of, graphs_of, lacking
from inspector.operation.opening import registry_of
from inspector.operation.reasons import ensure_reason
from inspector.operation.signing_keys import SigningImpossible, policy_of
from inspector.operation.threshold_approval import ensure_approved, ensure_near
from inspector.operation.version_signatures import threshold_signature, version_signature
from inspector.signing.statements import CAME_WITH, bound_graphs, signed_graphs
from inspector.signing.vouching import SignatureState, vouched_for
from inspector.store.registry.registry import SqlRegistry
from inspector.vision.artifacts.eyesight import advice_of, objections_of
from inspector.vision.artifacts.format import unpack
from inspector.vision.artifacts.thresholds import HIGHEST_LEVEL, LOWEST_LEVEL, EnrolledThreshold


@dataclass(frozen=True, slots=True)
class ExportedVersion:
    """A version, the bytes of its artifact, and the exported graphs that it runs on, as far as they are known here.

    `lacks_graphs`: some are not, so that the file serves only machines that have them already or can export them.
    """

    version: ProductVersion
    artifact: bytes
    graphs: tuple[ExportedGraph, ...]
    lacks_graphs: bool


@dataclass(frozen=True, slots=True)
class RolledBack:
    """A version that is live again. `replaced`: the one that was live until now, None if none was.

    `earlier`: the version that a further rollback would make live, None if there is none.
    """

    version: ProductVersion
    replaced: int | None
    earlier: int | None


@dataclass(frozen=True, slots=True)
class ImportedVersion:
    """A version taken in. `was_there`: the registry had the same artifact already, so that none was added.

    `lacks_graphs`: neither the file nor the registry has all graphs that it runs on.
    """

    version: ProductVersion
    was_there: bool
    lacks_graphs: bool = False


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


async def activate(
    config: Config, product: str, number: int, *, by: str, reason: str, insists: bool = False
) -> ProductVersion:
    """The version, now live. Raises ArtifactError where no agent could load it.

    Raises UsageError without a reason, and where anything objects to the version unless the person `insists`. The audit
    then says what was insisted on.
    """
    ensure_reason(reason, "A version that goes live")
    async with registry_of(config) as registry:
        version = chosen_version(await _versions(registry, product), number)
        motive = await _ensure_may_judge(config, registry, version, reason, insists=insists)
        return await registry.activate(product, number, by=by, reason=motive)


async def promote(config: Config, product: str, *, by: str, reason: str, insists: bool = False) -> ProductVersion:
    """The product's shadow version, now live, in one step: the version that was compared, under no other number.

    Raises RegistryError where the product has no shadow version, and as `activate`.
    """
    ensure_reason(reason, "A version that goes live")
    async with registry_of(config) as registry:
        shadow = next((version for version in await _versions(registry, product) if version.is_shadow), None)
    if shadow is None:
        raise RegistryError(
            f"{product} has no shadow version to promote; `inspector products shadow {product} VERSION --reason ...` "
            "sets one."
        )
    return await activate(config, product, shadow.version, by=by, reason=reason, insists=insists)


async def set_shadow(
    config: Config, product: str, number: int | None, *, by: str, reason: str
) -> ProductVersion | None:
    """The version that is scored beside the live one from now on; None: none is. Raises as `activate` does."""
    ensure_reason(reason, "A change of the shadow version")
    async with registry_of(config) as registry:
        versions = await _versions(registry, product)
        if number is not None:
            chosen = chosen_version(versions, number)
            await _ensure_loads(registry, chosen, "scored in shadow")
            await _ensure_taken_up(config, registry, chosen, "scored in shadow")
        return await registry.set_shadow(product, number, by=by, reason=reason)


async def roll_back(config: Config, product: str, *, by: str, reason: str, insists: bool = False) -> RolledBack:
    """The version that was live before, now live again. Raises as `activate`."""
    ensure_reason(reason, "A rollback")
    async with registry_of(config) as registry:
        versions = await _versions(registry, product)
        previous = await registry.previous(product)
        motive = reason
        if previous is not None:
            earlier = chosen_version(versions, previous)
            motive = await _ensure_may_judge(config, registry, earlier, reason, insists=insists)
        version = await registry.rollback(product, by=by, reason=motive)
        replaced = next((each.version for each in versions if each.is_live), None)
        return RolledBack(version, replaced, await registry.previous(product))


async def version_of(config: Config, product: str, number: int | None) -> ProductVersion:
    """The version of a product that `chosen_version` gives. Raises RegistryError."""
    return chosen_version(await versions_of(config, product), number)


async def move_threshold(
    config: Config, product: str, number: int | None, level: float, *, by: str, reason: str
) -> ProductVersion:
    """Make the version reject frames above `level`, and return it. Level 1 is the threshold that enrolment chose.

    Raises SecondPersonNeeded for a level that is too far from the last approved one, and changes nothing then.
    """
    ensure_reason(reason, "A moved threshold")
    async with registry_of(config) as registry:
        version = chosen_version(await _versions(registry, product), number)
        await ensure_near(registry.database, version, level, config.agent.threshold_share)
        score = EnrolledThreshold.of(version.manifest).score_at(level)
        signature = await threshold_signature(config, registry, version, score, by=by)
        return await registry.move_threshold(product, version.version, score, by=by, reason=reason, signature=signature)


async def remove(config: Config, product: str, *, by: str, reason: str) -> None:
    """Stop all versions of the product from judging. Its versions and results stay in the database."""
    ensure_reason(reason, "A product that is taken out of judging")
    async with registry_of(config) as registry:
        await _versions(registry, product)
        await registry.remove(product, by=by, reason=reason)


async def export_version(config: Config, product: str, number: int | None) -> ExportedVersion:
    """A version with its artifact and its graphs, to be imported on another line."""
    async with registry_of(config) as registry:
        version = chosen_version(await _versions(registry, product), number)
        artifact = await registry.artifact(product, version.version)
        graphs = await graphs_of(registry, version.manifest, cache_of(config), bound_graphs(version))
        return ExportedVersion(version, artifact, tuple(graphs), lacking(version.manifest, graphs))


async def import_version(
    config: Config, offered: OfferedVersion, *, activates: bool, by: str, reason: str, insists: bool = False
) -> ImportedVersion:
    """The offered version as the next one of its product; the audit says where it came from.

    Raises UsageError where the version is to go live without a reason or with a moved threshold, where this plant has
    keys and none of them vouches for a version that nobody trusts, and where anything objects to it unless the person
    `insists`.
    """
    if activates:
        ensure_reason(reason, "A version that goes live")
        _ensure_not_moved(offered)
        _motive(offered.manifest, offered.threshold, reason, insists=insists, look=LOOK_AT_A_FILE)
    async with registry_of(config, creates=True) as registry:
        provenance = await _provenance(config, registry, offered, reason)
        own = [version for version in await registry.products() if version.product == offered.product]
        known = next((version for version in own if version.digest == offered.digest), None)
        came_with = _vouched_graphs(offered, provenance)
        is_proven = (await policy_of(config, registry)).is_active and provenance.signature == offered.signature
        is_other = known is not None and _is_on_others(known, came_with)
        if is_other and not (is_proven and offered.signature is not None):
            raise ArtifactError(
                f"{offered.name} can't be imported: this version is here already, bound to other exported graphs than "
                "those in the file, and no trusted key says which are right."
            )
        graphs = await _store_graphs(config, registry, offered, provenance, came_with)
        manifest = {**offered.manifest, CAME_WITH: {graph.key: graph.sha256 for graph in came_with}}
        version = known or await registry.add_version(
            offered.product, offered.artifact, manifest, by=by, activate=False, provenance=provenance
        )
        if known is not None and provenance.signature is not None and (known.signature is None or is_other):
            version = await registry.sign(
                known.product, known.version, provenance.signature, by=by, reason=f"from {offered.origin}"
            )
        if activates:
            motive = await _ensure_may_judge(config, registry, version, reason, insists=insists)
            version = await registry.activate(version.product, version.version, by=by, reason=motive)
        return ImportedVersion(version, known is not None, lacking(offered.manifest, graphs))


async def _provenance(config: Config, registry: SqlRegistry, offered: OfferedVersion, reason: str) -> Provenance:
    """Where the version came from, and who vouches for it here: its signer, or this plant for what a person trusts.

    Raises UsageError where this plant has keys, none of them vouches for the version, and nobody trusts it.
    """
    policy = await policy_of(config, registry)
    found = vouched_for((offered.product, offered.digest, offered.threshold), offered.signature, None, policy.keys)
    if not policy.is_active or found.is_signed:
        return Provenance(signature=offered.signature, origin=f"{offered.origin}, {found.words}", origin_reason=reason)
    if found.state not in (SignatureState.UNSIGNED, SignatureState.FOREIGN):
        raise ArtifactError(f"{offered.name} can't be imported: it was {found.words}.")
    if not offered.is_trusted:
        raise UsageError(
            f"{offered.name} is {found.words}, so that nothing proves who made it. Trust the key of the plant that "
            "made it (`inspector keys trust`), or take this one version with --trust and a --reason."
        )
    signature = None
    with contextlib.suppress(SigningImpossible):
        signature = await version_signature(config, registry, offered.digest, offered.manifest, offered.graphs)
    origin = f"{offered.origin}, {found.words}, trusted by a person"
    return Provenance(signature=signature, origin=origin, origin_reason=reason)


async def _store_graphs(
    config: Config,
    registry: SqlRegistry,
    offered: OfferedVersion,
    provenance: Provenance,
    came_with: Sequence[ExportedGraph],
) -> list[ExportedGraph]:
    """Put the graphs that the version runs on into the registry, before the version: no agent sees it without them.

    Where this plant has keys, graphs that none of them vouches for serve this version alone.
    """
    is_vouched = offered.signature is not None and provenance.signature == offered.signature
    is_apart = not is_vouched and (await policy_of(config, registry)).is_active
    for graph in came_with:
        await registry.add_graph(graph, is_apart=is_apart)
    named = {graph.key: graph.sha256 for graph in came_with}
    graphs = await graphs_of(registry, offered.manifest, cache_of(config), named)
    for graph in graphs:  # those that only this machine's cache has
        if graph.key not in named:
            await registry.add_graph(graph)
    return graphs


def _is_on_others(known: ProductVersion, graphs: Sequence[ExportedGraph]) -> bool:
    """Whether the version that is here is bound to other graphs than these."""
    named = bound_graphs(known)
    return any(named.get(graph.key, graph.sha256) != graph.sha256 for graph in graphs)


def _vouched_graphs(offered: OfferedVersion, provenance: Provenance) -> list[ExportedGraph]:
    """The graphs of the file that its signer or a person vouches for. A graph judges as much as the head behind it."""
    if offered.signature is None or provenance.signature != offered.signature:
        return list(offered.graphs)
    named = signed_graphs(offered.signature)
    return [graph for graph in offered.graphs if named.get(graph.key) == graph.sha256]


def _ensure_not_moved(offered: OfferedVersion) -> None:
    """Raises UsageError for a threshold that is not the one that enrolment set."""
    level = EnrolledThreshold.of(offered.manifest).level(offered.threshold)
    if level is not None:
        raise UsageError(
            f"It is not made live: its threshold, {offered.threshold:.4g}, was moved to level {level:.3g} of what its "
            "enrolment set. Import it without --activate and look at it (`inspector products show`); `inspector "
            "products threshold --level 1` moves the threshold back."
        )


LOOK_AT_A_VERSION = "Look at it (`inspector products show`)"
LOOK_AT_A_FILE = "Nothing was imported. Import it without --activate and look at it (`inspector products show`)"


def _motive(
    manifest: Mapping[str, Any], threshold: float, reason: str, *, insists: bool, look: str = LOOK_AT_A_VERSION
) -> str:
    """The reason for the audit of a version that goes live; it says what was insisted on. `look`: how to look at it.

    Raises UsageError where anything objects to the version and nobody insists.
    """
    objections = [*_of_threshold(manifest, threshold), *objections_of(manifest)]
    if not objections:
        return reason
    if insists:
        return f"{reason} ({insisted_on(objections)})"
    advice = f" What may help: {advice}." if (advice := advice_of(manifest)) else ""
    raise UsageError(
        f"It is not made live: {'; '.join(objections)}.{advice} {look}, and add --insist where it shall judge all the "
        "same; the --reason says why."
    )


def insisted_on(objections: Sequence[str]) -> str:
    """What the audit says of a version that a person made live in spite of these objections."""
    return f"insisted on although {'; '.join(objections)}"


def _of_threshold(manifest: Mapping[str, Any], threshold: float) -> list[str]:
    """The objection to a threshold that agents use only if a person insists, or none."""
    try:
        enrolled = EnrolledThreshold.of(manifest)
    except ArtifactError:
        return []  # the manifest has no threshold to compare with, and no agent could load the version
    if enrolled.is_plausible(threshold):
        return []
    level = enrolled.level_shown(threshold)
    whose = "its own good images give" if level == enrolled.level_given(threshold) else "its calibration says"
    return [
        f"its threshold, {threshold:.4g}, lies at level {level:.3g} of what {whose}, not from {LOWEST_LEVEL:g} to "
        f"{HIGHEST_LEVEL:g}"
    ]


async def _ensure_may_judge(
    config: Config, registry: SqlRegistry, version: ProductVersion, reason: str, *, insists: bool
) -> str:
    """The reason for the audit of a version that goes live; it says what was insisted on.

    Raises ArtifactError where no agent could load it. Raises UsageError where its threshold is too far from what was
    approved, where agents would refuse its signature, and where anything objects to it and nobody insists.
    """
    await _ensure_loads(registry, version)
    await ensure_approved(registry.database, version, config.agent.threshold_share, "made live")
    await _ensure_taken_up(config, registry, version, "made live")
    return _motive(version.manifest, version.threshold, reason, insists=insists)


async def _ensure_taken_up(config: Config, registry: SqlRegistry, version: ProductVersion, what: str) -> None:
    """Raises UsageError for a version that agents refuse by its signatures. `what` ends "it is not ..."."""
    policy = await policy_of(config, registry)
    if policy.refuses(found := policy.vouched(version)):
        raise UsageError(
            f"{version.product} version {version.version} is not {what}, since agents would refuse it: it is "
            f"{found.words}. Look at it (`inspector products show`), and sign it with "
            f"`inspector keys sign {version.product} --reason ...`."
        )


async def _ensure_loads(registry: SqlRegistry, version: ProductVersion, what: str = "made live") -> None:
    """Raises ArtifactError for a version that no agent could load."""
    try:
        if not version.manifest:
            raise ArtifactError("Its manifest in the store is damaged; enrol it again or restore a backup.")
        unpack(await registry.artifact(version.product, version.version))
    except ArtifactError as error:
        raise ArtifactError(
            f"{version.product} version {version.version} is not {what}, since no agent could load it: {error}"
        ) from error


async def _versions(registry: SqlRegistry, product: str) -> list[ProductVersion]:
    versions = await registry.products()
    own = [version for version in versions if version.product == product]
    if not own:
        known = ", ".join(sorted({version.product for version in versions}))
        there_is = f"the products are {known}." if known else "none is enrolled yet; `inspector enroll` makes one."
        raise RegistryError(f"There is no product {product}; {there_is}")
    return own
