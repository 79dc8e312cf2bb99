"""The routing profile that all products of a registry share: backbone, input size, embedding, channel statistics."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inspector.domain import Image
from inspector.vision.engines.protocols import unit_length
from inspector.vision.images.resizing import Pyramid, resize
from inspector.vision.networks.graphs import Embedding, Graph

ROUTING_SIZE_PX = 128
ROUTING_HALVED_FROM = 8
"""A routing copy is halved while it is at least this many times too large; see `images.resizing.resize`."""
ROUTING_EMBEDDING = Embedding(strides=(8,), grid_stride=8, pool=1)
PROFILE_FILE = Path(__file__).with_name("routing_profile.json")


@dataclass(frozen=True, slots=True)
class RoutingProfile:
    """The pass for routing, and mean and spread of its channels. All products of a registry share both."""

    graph: Graph
    mean: NDArray[np.float32]
    spread: NDArray[np.float32]

    @property
    def key(self) -> str:
        """16 hex digits that identify the profile. Anchors made with another profile can't be compared."""
        # This is not the graph's key: a new export of the same pass leaves the anchors valid, which the probes check.
        described = json.dumps(
            {**self.graph.to_manifest(), "halved_from": ROUTING_HALVED_FROM}, sort_keys=True
        ).encode()
        return hashlib.sha256(described + self.mean.tobytes() + self.spread.tobytes()).hexdigest()[:16]

    def patches(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Raw patches [P, C] -> unit patches [P, C]."""
        scaled = raw - self.mean
        scaled /= self.spread
        return unit_length(scaled)


@functools.cache
def routing_profile() -> RoutingProfile:
    """The committed profile; see `benchmarks/routing_profile.py`."""
    stored = json.loads(PROFILE_FILE.read_text(encoding="utf-8"))
    graph = Graph(stored["backbone"], stored["weights_sha256"], stored["size_px"], (ROUTING_EMBEDDING,))
    return RoutingProfile(graph, np.array(stored["mean"], np.float32), np.array(stored["spread"], np.float32))


def routing_copy(frame: NDArray[np.uint8] | Image | Pyramid) -> NDArray[np.uint8]:
    """A frame -> the squashed copy [128, 128, 3] that the routing pass sees. Its exposure is not changed.

    Raises UndecodableFrame.
    """
    return np.ascontiguousarray(resize(frame, ROUTING_SIZE_PX, ROUTING_SIZE_PX, most=ROUTING_HALVED_FROM))
