"""Heads under test side by side, as a lineup would hold them, and what becomes of a test image among them.

In oracle mode each image meets its own product's head, else the head it is routed to: the nearest head's
level counts even where the frame is called unknown.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inspector.domain import Route
from inspector.evaluation.layouts import LabelledImage, read_mask
from inspector.evaluation.prints import prints_of
from inspector.stream.decode import DecodeLimits, EncodedImage
from inspector.training.dataset.folders import ImageSource
from inspector.training.routing.discovery import Discovery
from inspector.vision.artifacts.format import unpack
from inspector.vision.engines.protocols import Embedder, Engine
from inspector.vision.heads.base import Judgement
from inspector.vision.images.preparation import prepare
from inspector.vision.images.resizing import Halving
from inspector.vision.networks.backbone import find_weights
from inspector.vision.routing.index import AnchorIndex
from inspector.vision.routing.routing_pass import RoutingPass, RoutingView
from inspector.vision.serving.product_inspector import ProductInspector
from inspector.vision.serving.tiling import tiled


@dataclass(frozen=True, slots=True)
class Contender:
    """One head under test. `product`: the product that it stands for; for a discovered category, that of most images.

    `n_images`: the number of images that it was fitted on. `enroll_s` is None if it was not fitted here.
    """

    product: str
    n_images: int
    inspector: ProductInspector
    embedder: Embedder
    enroll_s: float | None

    @classmethod
    def open(
        cls,
        content: bytes,
        engine: Engine,
        *,
        product: str,
        n_images: int,
        enroll_s: float | None,
        threshold: float | None = None,
    ) -> Contender:
        """The head in an artifact's bytes. `threshold`: the one that a person set, else None. Raises ArtifactError."""
        artifact = unpack(content)
        if threshold is not None:
            artifact = replace(artifact, calibration=replace(artifact.calibration, threshold=threshold))
        weights_file = find_weights(artifact.manifest.get("weights_file"), None)
        embedder = engine.embedder(artifact.graph, weights_file, precision=artifact.precision)
        inspector = ProductInspector(artifact, engine)
        return cls(product, n_images, inspector, tiled(embedder, artifact.preparation), enroll_s)


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one test image. `by`: whose head judged it; `size`: [H, W]; `patches`: float16 [P, C] by
    who halved the image.
    `prints`: of its bytes and of its pixels.
    """

    image: LabelledImage
    size: tuple[int, int]
    level: float
    judgement: Judgement
    by: str
    route: Route | None
    patches: Mapping[Halving, NDArray[np.float16]] | None
    ms: float
    prints: tuple[str, str]


class Arena:
    """All contenders by the names their artifacts carry. `discovery`: where they came from in unlabelled mode."""

    def __init__(
        self,
        contenders: Mapping[str, Contender],
        routing_pass: RoutingPass,
        limits: DecodeLimits,
        *,
        is_routed: bool,
        discovery: Discovery | None = None,
    ) -> None:
        self.contenders = contenders
        self.is_routed = is_routed
        self.discovery = discovery
        self._limits = limits
        self._routing_pass = routing_pass
        self._index = self.index_without(None)

    def index_without(self, left_out: str | None) -> AnchorIndex:
        """The anchors of all contenders except those that stand for this product."""
        kept = [item for item in self.contenders.values() if item.product != left_out]
        artifacts = [item.inspector.artifact for item in kept]
        return AnchorIndex(
            [each.anchors for each in artifacts], halvings=[each.preparation.halving for each in artifacts]
        )

    def stands_for(self, contender: str | None) -> str | None:
        """The true product that a contender stands for; None for the name None."""
        return None if contender is None else self.contenders[contender].product

    def head_of(self, product: str) -> Contender | None:
        """The contender with the most images among those that stand for the product."""
        own = [item for item in self.contenders.values() if item.product == product]
        return max(own, key=lambda item: item.n_images, default=None)

    def judge(self, true_product: str, image: LabelledImage) -> Result:
        """One image from its bytes to its level, timed. Raises OSError and UndecodableFrame where it can't be read."""
        payload = ImageSource.of(image.path).read()
        started = time.perf_counter()
        encoded = EncodedImage(payload, self._limits)
        route, patches = None, None
        by = true_product
        if self.is_routed:
            seen = RoutingView(encoded, self._index.halvings).patches(self._routing_pass)
            route = self._index.route(seen)
            by = route.nearest or true_product
            patches = {halving: each.astype(np.float16) for halving, each in seen.items()}
        contender = self.contenders[by]
        artifact = contender.inspector.artifact
        embedded = contender.embedder(prepare(encoded, artifact.preparation)[None])
        judgement = contender.inspector.judge(embedded)[0].drawn()  # kept until all images are through
        ms = (time.perf_counter() - started) * 1e3
        level = artifact.calibration.level(judgement.score)
        return Result(image, encoded.size, level, judgement, by, route, patches, ms, prints_of(payload, encoded))

    def map_levels(self, result: Result, longest_px: int | None = None) -> NDArray[np.float32]:
        """The map of the head that judged it, in levels, at original resolution or smaller. float32 [h, w]."""
        return self.contenders[result.by].inspector.map_levels(result.judgement, result.size, longest_px)

    def maps(self, results: Sequence[Result]) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
        """Maps at original resolution with their masks, one at a time."""
        for result in results:
            yield self.map_levels(result), read_mask(result.image.masks, result.size)
