"""A lineup without a network, for tests of the road. The pixels of a frame encode its product and score.

`paint` makes such pixels. The threshold is always 1.0, so that score and level are equal. A score that is
not a number makes the scorer fail that frame alone.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from inspector.domain import (
    Cause,
    Embedding,
    Event,
    ExportedGraph,
    Failure,
    Frame,
    FrameFault,
    Image,
    LiveSet,
    ProductVersion,
    Routed,
    RouteFacts,
    Scored,
)
from inspector.ports import ArtifactOf, Lineup, Router, Scorer

THRESHOLD = 1.0
DARK = 254
"""The hundredths of a score that stand for a frame with the fault `dark`."""


def paint(product: int, score: float) -> NDArray[np.uint8]:
    """uint8 [2, 2, 3]: product number and score (in hundredths; 255 = not a number, 254 = a dark frame)."""
    hundredths = 255 if math.isnan(score) else round(score * 100)
    return np.full((2, 2, 3), (product, hundredths, 0), dtype=np.uint8)


@dataclass
class FakeShadows:
    """Shadow versions by product. Each adds `more` to the score that the pixels encode.

    `scored` names the products of the frames that were scored, in order; `before` is called before each.
    """

    versions: dict[str, ProductVersion] = field(default_factory=dict)
    more: float = 1.0
    cost_ms: float = 0.0
    before: Callable[[], None] = lambda: None
    scored: list[str] = field(default_factory=list)

    def version_of(self, product: str) -> ProductVersion | None:
        return self.versions.get(product)

    def expected_ms(self, product: str, embedding: Embedding | None) -> float:
        return self.cost_ms

    def can_use(self, product: str, embedding: Embedding | None) -> bool:
        return False

    def score(
        self,
        product: str,
        embedding: Embedding | None,
        image: Callable[[], Image],
    ) -> Scored | Failure:
        self.before()
        self.scored.append(product)
        return _answer(int(image().halved(0)[0, 0, 1]) / 100 + self.more)


@dataclass(frozen=True)
class FakeLineup:
    """Products are numbered from 0 in the order of `names`; any other number is an unknown product.

    `expected`: what each frame was expected to show, in the order of routing.
    """

    revision: str = "r1"
    names: tuple[str, ...] = ("alpha", "beta")
    gate: threading.Event | None = None
    batches: list[int] = field(default_factory=list)
    shadows: FakeShadows = field(default_factory=FakeShadows)
    expected: list[str | None] = field(default_factory=list)
    is_batched: bool = False
    batch: int = 8
    engine: str = "fake"
    versions: tuple[ProductVersion, ...] = ()

    @property
    def products(self) -> tuple[str, ...]:
        return self.names

    @property
    def decodes_halves(self) -> bool:
        return True

    @property
    def router(self) -> Router:
        return self

    @property
    def scorer(self) -> Scorer:
        return self

    def route(self, frame: Frame) -> Routed | Failure:
        self.expected.append(frame.expected)
        number, hundredths = (int(value) for value in frame.image.halved(0)[0, 0, :2])
        if number >= len(self.names):
            return Failure(Cause.UNKNOWN_PRODUCT, f"nearest is {self.names[0]}")
        name = self.names[number]
        facts = RouteFacts(
            product=name,
            product_version=1,
            artifact_digest=f"digest-{name}",
            threshold=THRESHOLD,
            confidence=1.0,
            route_ms=0.1,
        )
        if hundredths == DARK:
            return Failure.of_frame(FrameFault.DARK, "3.00 stops darker than good images", facts)
        score = math.nan if hundredths == 255 else hundredths / 100
        return Routed(frame.admitted, facts, prepared=score, batch_key="fake", size_px=(2, 2))

    def score(self, batch: Sequence[Routed]) -> list[Scored | Failure]:
        if self.gate is not None:
            self.gate.wait(10)
        self.batches.append(len(batch))
        return [_answer(routed.prepared) for routed in batch]

    def check_canary(self) -> None:
        """Never fails."""


def _answer(score: float) -> Scored | Failure:
    if math.isnan(score):
        return Failure(Cause.SCORER_ERROR, "the score is not a number")
    return Scored(score=score, threshold=THRESHOLD, level=score, embed_ms=0.1, score_ms=0.1, engine="fake")


@dataclass
class FakeLoader:
    """Returns `lineup` with the revision of the live set, and with the names of its products if it has any."""

    lineup: FakeLineup = field(default_factory=FakeLineup)

    def load(self, live: LiveSet, artifact_of: ArtifactOf, previous: Lineup | None) -> tuple[Lineup, list[Event]]:
        names = tuple(version.product for version in live.versions) or self.lineup.names
        own = self.lineup
        made = FakeLineup(live.revision, names, own.gate, own.batches, own.shadows, own.expected, own.is_batched)
        return replace(made, versions=live.versions), []

    def missing_graphs(self, live: LiveSet) -> frozenset[str]:
        return frozenset()

    def keep_graph(self, graph: ExportedGraph, name: str) -> None:
        """Never asked for, because none is missing."""

    def own_graphs(self, live: LiveSet, known: frozenset[str]) -> list[ExportedGraph]:
        return []

    def close(self) -> None:
        """Nothing to end."""
