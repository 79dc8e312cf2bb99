"""Which exported graphs versions need: that of each version's pass, and that of the routing pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from inspector.domain import ExportedGraph
from inspector.errors import ArtifactError
from inspector.vision.networks.graphs import Graph, cached_graph
from inspector.vision.routing.profile import routing_profile


def needed_graphs(manifests: Iterable[Mapping[str, Any]]) -> dict[str, Graph]:
    """Key -> graph. A manifest whose pass can't be read needs none: its version is refused anyway."""
    needed = {routing_profile().graph.key: routing_profile().graph}
    for manifest in manifests:
        try:
            graph = Graph.from_manifest(manifest["graph"])
        except (ArtifactError, KeyError, TypeError):
            continue
        needed[graph.key] = graph
    return needed


def cached_graphs(
    manifests: Iterable[Mapping[str, Any]], cache: Path, known: frozenset[str] = frozenset()
) -> list[ExportedGraph]:
    """The needed graphs that lie in the cache, without those whose keys are `known`. Raises EngineError."""
    needed = needed_graphs(manifests)
    found = [cached_graph(graph, cache) for key, graph in needed.items() if key not in known]
    return [graph for graph in found if graph is not None]
