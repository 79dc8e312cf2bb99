"""The passes that an enrolment makes over its images, ready on one engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inspector.vision.engines.protocols import Embedder, Engine
from inspector.vision.images.preparation import Preparation
from inspector.vision.networks.backbone import Backbone
from inspector.vision.networks.graphs import BackboneFile, Embedding, Graph
from inspector.vision.routing.profile import routing_profile
from inspector.vision.routing.routing_pass import RoutingPass
from inspector.vision.serving.tiling import tiled


@dataclass(frozen=True, slots=True)
class Passes:
    """`embedder` takes prepared canvases, `square_embedder` one tile each, `routing_pass` whole frames."""

    graph: Graph
    embedder: Embedder
    square_embedder: Embedder
    routing_pass: RoutingPass


def passes_for(preparation: Preparation, embeddings: Sequence[Embedding], backbone: Backbone, engine: Engine) -> Passes:
    """The passes of a recipe. Raises WeightsMissing, EngineError. The first call on a machine takes half a minute."""
    installed = BackboneFile.installed(backbone)
    graph = Graph(backbone.name, installed.sha256, preparation.size_px, tuple(embeddings))
    engine.ensure_graphs([(graph, backbone.weights_file), (routing_profile().graph, None)])
    square_embedder = engine.embedder(graph, backbone.weights_file)
    return Passes(graph, tiled(square_embedder, preparation), square_embedder, RoutingPass.on(engine))
