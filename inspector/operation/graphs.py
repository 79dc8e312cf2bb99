"""Exported graphs between the registry and the engine cache of a command's state folder.

Running agents do the same by themselves; a command has to do it before and after its own work.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from inspector.config.config import Config
from inspector.domain import ExportedGraph, content_name, key_in
from inspector.errors import ArtifactError, EngineError, InspectorError
from inspector.files import walk
from inspector.operation.opening import registry_of
from inspector.operation.signing_keys import policy_of
from inspector.signing.statements import bound_graphs
from inspector.signing.vouching import PROVEN, SignaturePolicy
from inspector.store.registry.registry import SqlRegistry
from inspector.vision.networks.graphs import cached_graph, keep_graph
from inspector.vision.networks.torch_extra import has_torch
from inspector.vision.serving.needed_graphs import cached_graphs, graphs_of_version, graphs_of_versions, needed_graphs


def cache_of(config: Config) -> Path:
    """The folder of the exported graphs of this configuration."""
    return config.agent.state_dir / "engines"


async def fetch_graphs(registry: SqlRegistry, cache: Path, policy: SignaturePolicy) -> None:
    """Take every graph from the registry that the cache lacks, because nobody knows yet which ones are needed.

    A graph of another software, or a damaged one, is left out, and so is one in the place of one that a signature
    names. Raises EngineError where the cache can't be written.
    """
    here = {file.stem for file, _ in await asyncio.to_thread(lambda: list(walk(cache))) if file.suffix == ".onnx"}
    signed = await _signed(registry, policy)
    for key in sorted({key_in(name)[0] for name in await registry.graph_keys()} - here):
        with contextlib.suppress(ArtifactError):
            graph = await registry.graph(key)
            if graph is not None and (key not in signed or graph.sha256 in signed[key]):
                await asyncio.to_thread(keep_graph, graph, cache)
    await _fetch_bound(registry, cache)


async def _fetch_bound(registry: SqlRegistry, cache: Path) -> None:
    """Take the graphs that versions are bound to, each under its own name."""
    for name, wanted in graphs_of_versions(await registry.products()).items():
        with contextlib.suppress(ArtifactError):
            if wanted.sha256 is None or await asyncio.to_thread(cached_graph, wanted, cache) is not None:
                continue
            if (graph := await registry.graph(name)) is not None:
                await asyncio.to_thread(keep_graph, graph, cache, name)


async def keep_graphs(registry: SqlRegistry, manifests: Sequence[Mapping[str, Any]], cache: Path) -> None:
    """Put the graphs that these versions need into the registry, as far as the cache has them."""
    known = await registry.graph_keys()
    for graph in await asyncio.to_thread(cached_graphs, needed_graphs(manifests), cache):
        if content_name(graph.key, graph.sha256) not in known:
            await registry.add_graph(graph)


async def graphs_of(
    registry: SqlRegistry, manifest: Mapping[str, Any], cache: Path, named: Mapping[str, str]
) -> list[ExportedGraph]:
    """The graphs that a version needs, from the cache or the registry. Those that are in neither are left out.

    `named`: the SHA-256 that they must have, by key, where the version is bound to them. The cache comes first, because
    what is enrolled here runs on what lies there.
    """
    needed = graphs_of_version(manifest, named)
    found: list[ExportedGraph] = []
    with contextlib.suppress(EngineError):
        found += await asyncio.to_thread(cached_graphs, needed, cache)
    here = {graph.key for graph in found}
    for name, wanted in needed.items():
        if wanted.key in here:
            continue
        with contextlib.suppress(ArtifactError):
            graph = await registry.graph(name)
            if graph is not None:
                found.append(graph)
    return found


def lacking(manifest: Mapping[str, Any], graphs: Iterable[ExportedGraph]) -> bool:
    """Whether the version needs a graph that is not among these."""
    return bool(needed_graphs([manifest]).keys() - {graph.key for graph in graphs})


async def fetch_where_none_is_made(config: Config, cache: Path) -> None:
    """For a machine without torch: take all graphs from the registry, if there is a database that answers."""
    if has_torch():
        return
    with contextlib.suppress(InspectorError):
        async with registry_of(config) as registry:
            await fetch_graphs(registry, cache, await policy_of(config, registry))


async def _signed(registry: SqlRegistry, policy: SignaturePolicy) -> dict[str, set[str]]:
    """The SHA-256 that signatures of trusted keys name for graphs, by key."""
    signed: dict[str, set[str]] = {}
    for version in await registry.products():
        if version.signature is None or policy.vouched(version).state not in PROVEN:
            continue
        for key, sha256 in bound_graphs(version).items():
            signed.setdefault(key, set()).add(sha256)
    return signed
