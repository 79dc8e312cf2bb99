"""The routing pass: it turns a frame into the unit patches by which products are told apart.

The stream, an enrolment, an evaluation and a probe must take the same steps, so the steps are here once. This module
knows nothing of anchors and votes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inspector.vision.engines.protocols import FLOAT32, Embedder, Engine, on_host
from inspector.vision.images.resizing import Pyramid
from inspector.vision.networks.graphs import Graph
from inspector.vision.routing.profile import RoutingProfile, routing_copy, routing_profile


class RoutingPass:
    """The committed routing profile on one engine. Immutable, and so safe on several threads."""

    def __init__(self, embedder: Embedder, profile: RoutingProfile | None = None) -> None:
        self._embedder = embedder
        self._profile = profile or routing_profile()

    @classmethod
    def on(cls, engine: Engine, graph: Graph | None = None) -> RoutingPass:
        """In float32 on every engine: all products of a registry share it. `graph`: the profile's own, bound.

        Raises WeightsMissing, EngineError.
        """
        return cls(engine.embedder(graph or routing_profile().graph, small=True, precision=FLOAT32))

    def patches(self, frame: NDArray[np.uint8] | Pyramid) -> NDArray[np.float32]:
        """A frame of any size, uint8 [H, W, 3] -> its unit patches, float32 [P, C]."""
        return self.patches_of_copy(routing_copy(frame))

    def patches_of_copy(self, copy: NDArray[np.uint8]) -> NDArray[np.float32]:
        """A routing copy, uint8 [128, 128, 3] (see `profile.routing_copy`) -> its unit patches, float32 [P, C]."""
        (embedded, *_) = self._embedder(copy[None])
        return self._profile.patches(on_host(embedded)[0])
