"""Kept frames judged again by a version of a product, exactly as an agent with this configuration would judge them.

Blocks, and must not be called on an event loop.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from inspector.agent.camera_limits import limits_of
from inspector.config.config import Config
from inspector.domain import LiveSet, ProductVersion
from inspector.errors import ArtifactError
from inspector.operation.graphs import cache_of, fetch_where_none_is_made
from inspector.stream.decode import DecodeLimits, EncodedImage
from inspector.vision.artifacts.format import LEVEL_TOLERANCE
from inspector.vision.images.preparation import prepare
from inspector.vision.serving.lineup import VisionLineup, VisionLoader
from inspector.vision.serving.loaded_product import LoadedProduct

TOLERANCE = LEVEL_TOLERANCE
"""Levels may differ by this much between engines and processors; a version that differs by more is refused there."""


@dataclass(frozen=True, slots=True)
class JudgedAgain:
    """The score of a frame, and its level at the version's own threshold of now."""

    score: float
    level: float

    @property
    def is_reject(self) -> bool:
        return self.level > 1.0


class Rejudge:
    """A version, opened on the configured engine and checked by its probes.

    `engine`: the name of that engine as rows have it, so what `auto` stands for here.
    """

    def __init__(self, config: Config, version: ProductVersion, artifact: bytes) -> None:
        """Raises ArtifactError where an agent would refuse the version here; EngineError, WeightsMissing."""
        self._config = config
        loader = VisionLoader(config.engine, cache_of(config))
        self._item = _opened(config, loader, version, artifact)
        self.engine = loader.engine_name

    @property
    def version(self) -> ProductVersion:
        return self._item.version

    def level(self, score: float, threshold: float) -> float:
        """The level of a score at this threshold."""
        return self._item.inspector.level(score, threshold)

    def judge(self, camera: str, payload: bytes) -> JudgedAgain:
        """Judge a frame of this camera. Raises UndecodableFrame."""
        item = self._item
        prepared = prepare(EncodedImage(payload, self._limits(camera)), item.inspector.artifact.preparation)
        (judgement,) = item.inspector.judge(item.embedder(prepared[None]))
        return JudgedAgain(judgement.score, self.level(judgement.score, item.threshold))

    def is_configured(self, camera: str) -> bool:
        """Whether the camera's own limits are known; else the usual ones are used."""
        return any(section.name == camera for section in self._config.camera)

    def _limits(self, camera: str) -> DecodeLimits:
        return limits_of(self._config.camera_named(camera)) if self.is_configured(camera) else DecodeLimits()


def _opened(config: Config, loader: VisionLoader, version: ProductVersion, artifact: bytes) -> LoadedProduct:
    asyncio.run(fetch_where_none_is_made(config, cache_of(config)))
    alone = LiveSet("again", (replace(version, is_live=True, is_shadow=False),))
    lineup, events = loader.load(alone, {version.digest: artifact}.get, None)
    item = lineup.loaded.get(version.digest) if isinstance(lineup, VisionLineup) else None
    if item is None:
        why = "; ".join(event.detail for event in events)
        raise ArtifactError(why or f"{version.product} version {version.version} can't be opened here.")
    return replace(item, version=version)
