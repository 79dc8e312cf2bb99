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
from inspector.domain import ExportedGraph
from inspector.errors import ArtifactError, EngineError, InspectorError
from inspector.files import walk
from inspector.operation.opening import registry_of
from inspector.store.registry.registry import SqlRegistry
from inspector.vision.networks.graphs import keep_graph
from inspector.vision.networks.torch_extra import has_torch
from inspector.vision.serving.needed_graphs import cached_graphs, needed_graphs


def cache_of(config: Config) -> Path:
    """The folder of the exported graphs of this configuration."""
    return config.agent.state_dir / "engines"


async def fetch_graphs(registry: SqlRegistry, cache: Path) -> None:
    """Take every graph from the registry that the cache lacks, because nobody knows yet which ones are needed.

    A graph of another software, or a damaged one, is left out. Raises EngineError where the cache can't be written.
    """
    here = {file.stem for file, _ in await asyncio.to_thread(lambda: list(walk(cache))) if file.suffix == ".onnx"}
    for key in sorted(await registry.graph_keys() - here):
        with contextlib.suppress(ArtifactError):
            graph = await registry.graph(key)
            if graph is not None:
                await asyncio.to_thread(keep_graph, graph, cache)


async def keep_graphs(registry: SqlRegistry, manifests: Sequence[Mapping[str, Any]], cache: Path) -> None:
    """Put the graphs that these versions need into the registry, as far as the cache has them."""
    known = await registry.graph_keys()
    for graph in await asyncio.to_thread(cached_graphs, manifests, cache, known):
        await registry.add_graph(graph)


async def graphs_of(registry: SqlRegistry, manifest: Mapping[str, Any], cache: Path) -> list[ExportedGraph]:
    """The graphs that a version needs, from the registry or the cache. Those that are in neither are left out."""
    found = []
    for key in needed_graphs([manifest]):
        with contextlib.suppress(ArtifactError):
            graph = await registry.graph(key)
            if graph is not None:
                found.append(graph)
    known = frozenset(graph.key for graph in found)
    with contextlib.suppress(EngineError):
        found += await asyncio.to_thread(cached_graphs, [manifest], cache, known)
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
            await fetch_graphs(registry, cache)
