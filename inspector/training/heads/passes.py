"""The passes that one recipe's enrolment makes over its images, ready on one engine."""

from __future__ import annotations

from dataclasses import dataclass

from inspector.training.heads.recipes import Recipe
from inspector.vision.engines.protocols import Embedder, Engine
from inspector.vision.networks.backbone import Backbone
from inspector.vision.networks.graphs import BackboneFile, Graph
from inspector.vision.routing.profile import routing_profile
from inspector.vision.serving.tiling import tiled


@dataclass(frozen=True, slots=True)
class Passes:
    """`embedder` takes prepared canvases, `square_embedder` one tile each, `route_embedder` routing copies."""

    graph: Graph
    embedder: Embedder
    square_embedder: Embedder
    route_embedder: Embedder


def passes_for(recipe: Recipe, backbone: Backbone, engine: Engine) -> Passes:
    """Raises WeightsMissing, EngineError. The first time on a machine a graph is exported, which takes ten seconds."""
    installed = BackboneFile.installed(backbone)
    graph = Graph(backbone.name, installed.sha256, recipe.preparation.size_px, recipe.embeddings)
    square_embedder = engine.embedder(graph, backbone.weights_file)
    return Passes(
        graph,
        tiled(square_embedder, recipe.preparation),
        square_embedder,
        engine.embedder(routing_profile().graph, small=True),
    )
