"""The shadow versions of a lineup: they score a frame once more, after the live version has judged it.

A shadow version with the pass and the preparation of the live version reuses the embedding of the live pass; then only
its head is run. Any other shadow version prepares and embeds the frame itself. No heat map is drawn.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inspector.domain import Cause, Embedding, Failure, Image, ProductVersion, Scored
from inspector.errors import EngineError
from inspector.vision.engines.protocols import Patches
from inspector.vision.images.preparation import prepare
from inspector.vision.serving.loaded_product import LoadedProduct

_LOG = logging.getLogger(__name__)

MEASURED_RUNS: Final = 2
LARGEST_KEPT_BYTES: Final = 16 * 1024 * 1024
"""A larger embedding (a frame in many tiles) is not kept; the shadow version then makes its own pass."""


@dataclass(frozen=True, slots=True)
class LoadedShadow:
    """A shadow version that is ready. `whole_ms`: pass and head of one frame, `head_ms`: the head alone."""

    product: LoadedProduct
    whole_ms: float
    head_ms: float

    @classmethod
    def measured(cls, product: LoadedProduct) -> LoadedShadow:
        """The version with its costs on this machine. The first run pays for memory and is not counted."""
        blank = np.zeros((1, *product.inspector.artifact.preparation.canvas, 3), np.uint8)
        product.inspector.judge(product.embedder(blank))
        runs = [_times_ms(product, blank) for _ in range(MEASURED_RUNS)]
        return cls(product, min(whole for whole, _ in runs), min(head for _, head in runs))


def _times_ms(product: LoadedProduct, blank: NDArray[np.uint8]) -> tuple[float, float]:
    began = time.perf_counter()
    embedded = product.embedder(blank)
    halfway = time.perf_counter()
    product.inspector.judge(embedded)
    ended = time.perf_counter()
    return (ended - began) * 1e3, (ended - halfway) * 1e3


class VisionShadows:
    """Implements `ports.ShadowScorer`. `loaded` holds one version per product at most."""

    def __init__(self, loaded: Sequence[LoadedShadow], engine: str) -> None:
        self.engine = engine
        self._by_product = {shadow.product.version.product: shadow for shadow in loaded}

    @property
    def measured(self) -> dict[str, LoadedShadow]:
        """The versions with their costs, by digest."""
        return {shadow.product.version.digest: shadow for shadow in self._by_product.values()}

    @property
    def loaded(self) -> list[LoadedProduct]:
        return [shadow.product for shadow in self._by_product.values()]

    def version_of(self, product: str) -> ProductVersion | None:
        shadow = self._by_product.get(product)
        return None if shadow is None else shadow.product.version

    def expected_ms(self, product: str, embedding: Embedding | None) -> float:
        shadow = self._by_product[product]
        return shadow.head_ms if self.can_use(product, embedding) else shadow.whole_ms

    def can_use(self, product: str, embedding: Embedding | None) -> bool:
        shadow = self._by_product.get(product)
        return shadow is not None and embedding is not None and embedding.key == shadow.product.pass_key

    def kept(self, live: LoadedProduct, embedded: Sequence[Patches], row: int) -> Embedding | None:
        """A copy of this row of the live pass, if the product's shadow version can use it."""
        shadow = self._by_product.get(live.version.product)
        if shadow is None or shadow.product.pass_key != live.pass_key:
            return None
        if sum(int(patches[row].nbytes) for patches in embedded) > LARGEST_KEPT_BYTES:
            return None
        try:
            # An index in a list copies: a view would keep the patches of the whole batch in memory.
            copies = tuple(patches[[row]] for patches in embedded)
        except Exception as error:  # noqa: BLE001 - without memory for a copy, the live version still judges the frame
            _LOG.warning("no embedding is kept for the shadow version: %s", error)
            return None
        return Embedding(live.pass_key, copies, sum(int(patches.nbytes) for patches in copies))

    def score(self, product: str, embedding: Embedding | None, image: Callable[[], Image]) -> Scored | Failure:
        item = self._by_product[product].product
        if embedding is not None and self.can_use(product, embedding):
            patches = list(embedding.patches)
        else:
            prepared = prepare(image(), item.inspector.artifact.preparation)
            try:
                patches = item.embedder(prepared[None])
            except EngineError as error:
                return Failure(Cause.SCORER_ERROR, str(error))
        (judgement,) = item.inspector.judge(patches)
        if not np.isfinite(judgement.score):
            return Failure(Cause.SCORER_ERROR, "its score is not a number")
        limit = item.threshold
        return Scored(judgement.score, limit, item.inspector.level(judgement.score, limit), engine=self.engine)
