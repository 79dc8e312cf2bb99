"""One loaded product: turns the embeddings of a pass into scores, maps and regions in the frame's own pixels.

The same code judges in the stream, in evaluation and when probes are made, so that a stored score can be reproduced.
A `ProductInspector` knows one product; the lineup makes the batches over products.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inspector.domain import Region, Scored
from inspector.errors import ParityError
from inspector.vision.artifacts.format import LEVEL_TOLERANCE, Artifact
from inspector.vision.engines.protocols import Embedder, Engine, Patches
from inspector.vision.heads.base import Judgement
from inspector.vision.images.preparation import restore_map
from inspector.vision.routing.routing_pass import RoutingPass
from inspector.vision.serving.suspicious_regions import find_regions
from inspector.vision.serving.tiling import join, split_tiles

MAP_FROM_LEVEL = 0.7
"""Frames below this level get no heat map: drawing one costs more than scoring the frame."""
HEAT_MAP_SIDE_PX = 256
LARGEST_HEAT_MAP_PX = 1024
HEAT_AT_THRESHOLD = 128
ROUTING_TOLERANCE = 0.02


class ProductInspector:
    """An artifact with its head on one engine. Immutable after construction."""

    def __init__(self, artifact: Artifact, engine: Engine) -> None:
        self.artifact = artifact
        self._head = artifact.head.open(engine)

    def judge(self, embedded: Sequence[Patches]) -> list[Judgement]:
        """One judgement per frame. `embedded`: one [B, T * P, C] per embedding of the pass, for T tiles."""
        preparation = self.artifact.preparation
        return join(self._head.judge(split_tiles(embedded, preparation)), preparation)

    def scored(
        self, judgement: Judgement, size: tuple[int, int], *, threshold: float | None = None, always_map: bool = False
    ) -> Scored:
        """The judgement in the form that the stream uses. `threshold`, where given, replaces the artifact's."""
        limit = self.artifact.calibration.threshold if threshold is None else threshold
        level = self.level(judgement.score, limit)
        heat_map: NDArray[np.uint8] | None = None
        regions: tuple[Region, ...] = ()
        if always_map or level > MAP_FROM_LEVEL:
            levels = self.map_levels(judgement, size, self._heat_map_side())
            heat_map = np.clip(np.rint(levels * HEAT_AT_THRESHOLD), 0, 255).astype(np.uint8)
            regions = find_regions(levels, size, is_reject=judgement.score > limit)
        return Scored(judgement.score, limit, level, regions, heat_map)

    def level(self, score: float, threshold: float) -> float:
        """The score as a level of this threshold: 1 at the threshold, 0 at the median of good images."""
        median = self.artifact.calibration.median
        return (score - median) / (threshold - median)

    def map_levels(
        self, judgement: Judgement, size: tuple[int, int], longest_px: int | None = None
    ) -> NDArray[np.float32]:
        """The map over the original frame in levels, float32 [h, w]. 1.0 is the threshold of the map.

        The map has the frame's resolution, or a long side of `longest_px` where that is smaller.
        """
        height, width = size
        if longest_px is not None and max(size) > longest_px:
            scale = longest_px / max(size)
            height, width = max(1, round(height * scale)), max(1, round(width * scale))
        of_map = self.artifact.map_scale
        shown = (height, width)
        return of_map.levels(
            restore_map(judgement.grid_map, self.artifact.preparation, *size, shown, outside=of_map.median)
        )

    def _heat_map_side(self) -> int:
        """Long side of a heat map in pixels. With tiles it is larger, so that no cell of the joined map is skipped."""
        if self.artifact.preparation.tile_count == 1:
            return HEAT_MAP_SIDE_PX
        return min(LARGEST_HEAT_MAP_PX, max(HEAT_MAP_SIDE_PX, max(self.artifact.preparation.canvas) // 2))

    def check_probes(self, embedder: Embedder, routing_pass: RoutingPass) -> None:
        """Raises ParityError where a probe image does not get its stored score, map peak or distance to the anchors."""
        calibration, map_scale = self.artifact.calibration, self.artifact.map_scale
        level, map_level = calibration.threshold - calibration.median, map_scale.threshold - map_scale.median
        for probe in self.artifact.probes:
            embedded = embedder(probe.prepared[None])
            if any(embedded[use.index].shape[2] != use.channels for use in self.artifact.head.embeddings):
                product = self.artifact.product
                raise ParityError(f"{product} was enrolled on another backbone than this engine runs; enrol it again.")
            (judged,) = self.judge(embedded)
            distance = self.routing_distance(probe.routing, routing_pass)
            peak = float(judged.grid_map.max())
            self._ensure_same("scores", judged.score, probe.score, LEVEL_TOLERANCE * level)
            self._ensure_same("has its map's peak at", peak, probe.map_peak, LEVEL_TOLERANCE * map_level)
            allowed = ROUTING_TOLERANCE * self.artifact.anchors.bound
            self._ensure_same("is routed at", distance, probe.routing_distance, allowed)

    def _ensure_same(self, what: str, found: float, stored: float, allowed: float) -> None:
        if abs(found - stored) <= allowed:  # false also for NaN
            return
        by = _named_engine(self.artifact.manifest.get("engine"))
        raise ParityError(
            f"{self.artifact.product} {what} {found:.5g} where {stored:.5g} was stored ({allowed:.2g} off is allowed): "
            f"this engine can't be trusted with it; it was enrolled on {by}. Use that engine, or enrol it again here."
        )

    def routing_distance(self, copy: NDArray[np.uint8], routing_pass: RoutingPass) -> float:
        """Distance of a routing copy [128, 128, 3] to this product."""
        return self.artifact.anchors.distance(routing_pass.patches_of_copy(copy))


def _named_engine(made: object) -> str:
    """The engine that a manifest names, as text for people. Any content of the manifest is accepted."""
    if not isinstance(made, dict) or not isinstance(made.get("versions"), dict):
        return f"an engine that it does not name ({made!r:.60})"
    return f"{made.get('name')} ({', '.join(f'{name} {number}' for name, number in made['versions'].items())})"
