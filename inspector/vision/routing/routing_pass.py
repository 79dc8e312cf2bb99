"""The routing pass: it turns a frame into the unit patches by which products are told apart.

The stream, an enrolment, an evaluation and a probe must take the same steps, so the steps are here once. This module
knows nothing of anchors and votes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from inspector.domain import Image
from inspector.stream.decode import overview
from inspector.vision.engines.protocols import FLOAT32, Embedder, Engine, on_host
from inspector.vision.images.resizing import Halving, Pyramid
from inspector.vision.networks.graphs import Graph
from inspector.vision.routing.profile import RoutingProfile, routing_copy, routing_profile

Seen = Mapping[Halving, NDArray[np.float32]]
"""The unit patches of a frame [P, C], by who halved it. Each product compares those that it was enrolled with."""


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

    def patches(self, frame: NDArray[np.uint8] | Image | Pyramid) -> NDArray[np.float32]:
        """A frame of any size -> its unit patches, float32 [P, C]."""
        return self.patches_of_copy(routing_copy(frame))

    def patches_of_copy(self, copy: NDArray[np.uint8]) -> NDArray[np.float32]:
        """A routing copy, uint8 [128, 128, 3] (see `profile.routing_copy`) -> its unit patches, float32 [P, C]."""
        (embedded, *_) = self._embedder(copy[None])
        return self._profile.patches(on_host(embedded)[0])


class RoutingView:
    """A frame as routing sees it: its pyramid and its routing copy for each way of halving that some product has.

    A frame that is too small to be halved has one copy, whatever the products have.
    """

    def __init__(self, image: Image, halvings: Sequence[Halving]) -> None:
        self.pyramids = {halving: Pyramid(image, halving) for halving in halvings}
        is_whole = len(halvings) < 2 or overview(image) is image.halved(0)
        first = routing_copy(self.pyramids[halvings[0]])
        self.copies = {
            halving: first if is_whole or not number else routing_copy(pyramid)
            for number, (halving, pyramid) in enumerate(self.pyramids.items())
        }

    def patches(self, routing_pass: RoutingPass) -> Seen:
        """The unit patches of each copy. Equal copies are embedded once."""
        of_copy = {id(copy): copy for copy in self.copies.values()}
        found = {key: routing_pass.patches_of_copy(copy) for key, copy in of_copy.items()}
        return {halving: found[id(copy)] for halving, copy in self.copies.items()}
