"""Which exported graphs versions need: that of each version's pass, and that of the routing pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from inspector.domain import ExportedGraph, ProductVersion
from inspector.errors import ArtifactError
from inspector.signing.statements import bound_graphs
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


def graphs_of_version(manifest: Mapping[str, Any], named: Mapping[str, str]) -> dict[str, Graph]:
    """Name -> graph of a version that is bound to the graphs `named`, SHA-256 by key."""
    graphs = [bound(graph, named) for graph in needed_graphs([manifest]).values()]
    return {graph.name: graph for graph in graphs}


def graphs_of_versions(versions: Iterable[ProductVersion]) -> dict[str, Graph]:
    """Name -> graph of all these versions; of no version, the routing pass."""
    versions = tuple(versions)
    if not versions:
        return needed_graphs(())
    return {
        name: graph
        for version in versions
        for name, graph in graphs_of_version(version.manifest, bound_graphs(version)).items()
    }


def bound(graph: Graph, named: Mapping[str, str]) -> Graph:
    """The graph, with the digest that is named for it."""
    return replace(graph, sha256=named.get(graph.key))


def routing_graph(versions: Iterable[ProductVersion], cache: Path) -> Graph:
    """The graph of the routing pass, which all versions share: one that a signed version names, else any version.

    Of several, one that is on this machine, and which most name. Raises EngineError.
    """
    plain, versions = routing_profile().graph, tuple(versions)
    for of in ([each for each in versions if each.signature is not None], versions):
        named = Counter(name for each in of if (name := bound_graphs(each).get(plain.key)) is not None)
        choices = [replace(plain, sha256=sha256) for sha256 in sorted(named, key=lambda each: (-named[each], each))]
        if choices:
            return next((graph for graph in choices if cached_graph(graph, cache) is not None), choices[0])
    return plain


def cached_graphs(needed: Mapping[str, Graph], cache: Path, known: frozenset[str] = frozenset()) -> list[ExportedGraph]:
    """The needed graphs, by name, that lie in the cache, without those whose names are `known`. Raises EngineError."""
    found = [cached_graph(graph, cache) for name, graph in needed.items() if name not in known]
    return [graph for graph in found if graph is not None]
