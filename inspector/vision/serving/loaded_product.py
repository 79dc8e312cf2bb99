"""A version that is ready to inspect: its artifact on an engine, and the pass that it shares with other versions."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from inspector.domain import ProductVersion
from inspector.vision.artifacts.format import Artifact
from inspector.vision.engines.protocols import Embedder, Engine
from inspector.vision.serving.product_inspector import ProductInspector


@dataclass(frozen=True, slots=True)
class LoadedProduct:
    """A version ready to inspect. `embedder` is its main pass, shared with all products of the same batch key."""

    version: ProductVersion
    inspector: ProductInspector
    embedder: Embedder
    batch_key: str

    @property
    def threshold(self) -> float:
        """The threshold in the registry, which a person may have moved. The artifact keeps the enrolled threshold."""
        return self.version.threshold

    @property
    def pass_key(self) -> Hashable:
        """Equal for two versions whose passes over one frame give the same embeddings."""
        return self.batch_key, self.inspector.artifact.preparation


def batch_key_of(engine: Engine, artifact: Artifact) -> str:
    """The key of the frames that may share one main pass."""
    height, width = artifact.preparation.canvas
    graph = artifact.graph.name if engine.needs_graphs else artifact.graph.key
    return f"{engine.name}:{artifact.precision}:{graph}:{height}x{width}"
