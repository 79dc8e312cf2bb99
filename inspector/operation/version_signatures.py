"""Signatures with this plant's key: over a version as it was enrolled, and over a threshold that a person moves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from inspector.config.config import Config
from inspector.domain import ExportedGraph, ProductVersion, Signature
from inspector.operation.graphs import cache_of, graphs_of
from inspector.operation.signing_keys import SigningImpossible, key_file, signer_of
from inspector.signing.statements import ThresholdStatement, VersionStatement, says, signed
from inspector.store.registry.registry import SqlRegistry


async def version_signature(
    config: Config,
    registry: SqlRegistry,
    digest: str,
    manifest: Mapping[str, Any],
    came_with: Iterable[ExportedGraph] = (),
) -> Signature | None:
    """Over a version as it was enrolled, with the graphs that it runs on. None where this machine has no key.

    `came_with`: the graphs in the file of an imported version; it runs on them, whatever others are here.
    Raises SigningImpossible.
    """
    key = await signer_of(config, registry)
    if key is None:
        return None
    graphs = {graph.key: graph for graph in await graphs_of(registry, manifest, cache_of(config), {})}
    graphs |= {graph.key: graph for graph in came_with}
    statement = VersionStatement.of(str(manifest["product"]), digest, float(manifest["threshold"]), graphs.values())
    return signed(statement, key)


async def threshold_signature(
    config: Config,
    registry: SqlRegistry,
    version: ProductVersion,
    threshold: float,
    *,
    by: str,
    approved_by: str | None = None,
) -> Signature | None:
    """Over a threshold that the version shall get. None for an unsigned version, and for the enrolled threshold.

    Raises SigningImpossible where the version is signed and this machine has no key: agents would refuse the move.
    """
    if version.signature is None or says(version.signature, "version").get("threshold") == threshold:
        return None
    key = await signer_of(config, registry)
    if key is None:
        raise SigningImpossible(
            f"{version.product} version {version.version} is signed, so that agents take a moved threshold only with a "
            f"signature, and this machine has no signing key that counts ({key_file(config)}); move it on the machine "
            "that has."
        )
    return signed(ThresholdStatement(version.product, version.digest, threshold, by, approved_by), key)
