"""Puts this plant's signature to a version that is there: one from before there was a key, or of another key."""

from __future__ import annotations

from collections.abc import Iterable

from inspector.config.config import Config
from inspector.domain import ExportedGraph, ProductVersion
from inspector.errors import ArtifactError, RegistryError
from inspector.operation.graphs import cache_of, graphs_of, lacking
from inspector.operation.opening import registry_of
from inspector.operation.reasons import ensure_reason
from inspector.operation.signing_keys import SigningImpossible, key_file, signer_of
from inspector.operation.threshold_approval import ensure_approved
from inspector.signing.statements import ThresholdStatement, VersionStatement, bound_graphs, signed
from inspector.vision.artifacts.format import read_manifest, unpack


async def sign_version(config: Config, product: str, number: int, *, by: str, reason: str) -> ProductVersion:
    """Put this plant's signature to a version that is there, as it stands now.

    Raises ArtifactError where no agent could load it, UsageError where its threshold is too far from what was
    approved, without a key and without a reason.
    """
    ensure_reason(reason, "A signature")
    async with registry_of(config) as registry:
        version = next(
            (each for each in await registry.products() if (each.product, each.version) == (product, number)), None
        )
        if version is None:
            raise RegistryError(f"There is no version {number} of a product {product}; see `inspector products list`.")
        key = await signer_of(config, registry)
        if key is None:
            raise SigningImpossible(
                f"This machine has no signing key that counts ({key_file(config)}); "
                "`inspector keys make NAME --reason ...` makes one."
            )
        content = await registry.artifact(product, number)
        unpack(content, version.digest)
        await ensure_approved(registry.database, version, config.agent.threshold_share, "signed")
        manifest = read_manifest(content)
        graphs = await graphs_of(registry, manifest, cache_of(config), bound_graphs(version))
        _ensure_whole(version, graphs)
        enrolled = float(manifest["threshold"])
        statement = VersionStatement.of(product, version.digest, enrolled, graphs)
        moved = None
        if version.threshold != enrolled:
            moved = signed(ThresholdStatement(product, version.digest, version.threshold, by), key)
        return await registry.sign(product, number, signed(statement, key), by=by, reason=reason, of_threshold=moved)


def _ensure_whole(version: ProductVersion, graphs: Iterable[ExportedGraph]) -> None:
    """Raises ArtifactError where a graph that the version is bound to is gone: a new signature would bind none."""
    if bound_graphs(version) and lacking(version.manifest, graphs):
        raise ArtifactError(
            f"{version.product} version {version.version} is not signed: an exported graph that it is bound to is not "
            "here. Import it again from its file with the graphs."
        )
