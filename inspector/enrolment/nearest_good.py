"""Finds the good spot that a suspicious spot of a part is nearest to, with the enrolled image that it comes from.

The frame goes through the version's own pass again. In its worst cell within the worst region, the bank names the
nearest prototype, and the prototype names the image that it was taken from. The image itself is read from where the
enrolment found it. Everything here blocks: call it on a worker thread.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inspector.config.config import Config
from inspector.domain import Region
from inspector.enrolment.enrolled_images import enrolled_image
from inspector.errors import ArtifactError
from inspector.operation.graphs import cache_of
from inspector.stream.decode import DecodeLimits, EncodedImage
from inspector.vision.artifacts.format import Artifact, digest_of, unpack
from inspector.vision.engines.factory import create_engine
from inspector.vision.engines.protocols import FLOAT32, Embedder, on_host, unit_length
from inspector.vision.heads.prototype import Member, PrototypeHead, PrototypeModel
from inspector.vision.images.preparation import Preparation, crop_of, place, prepare
from inspector.vision.networks.backbone import find_weights
from inspector.vision.serving.tiling import corners, split_tiles, tiled

LEAST_SHARE: Final = 0.16
"""Shown side as a share of the frame's shorter side, at least: a spot without what is around it can't be compared."""

AROUND: Final = 1.6
"""Shown side as a multiple of the region's longer side."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A square part of an image: its file's bytes, and left, top, right, bottom in pixels."""

    payload: bytes
    box: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class NearestGood:
    """The suspicious spot and the good spot that it is nearest to, at the same scale. `name`: the good image's file."""

    here: Spot
    good: Spot
    name: str


@dataclass(frozen=True, slots=True)
class _Opened:
    digest: str
    artifact: Artifact
    head: PrototypeHead
    embedder: Embedder


class NearestFinder:
    """Finds good spots, and keeps the last few versions open. One call at a time is enough: use one worker thread."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._opened = functools.lru_cache(maxsize=2)(self._open)

    def find(self, payload: bytes, regions: tuple[Region, ...], product: str, artifact: bytes) -> NearestGood:
        """The nearest good spot of the worst region. `artifact`: the bytes of the version that judged the part.

        Raises ArtifactError where the head keeps no such places, EnrolmentError where the good image is gone,
        EngineError where the pass can't be run here, UndecodableFrame.
        """
        opened = self._opened(artifact)
        image = EncodedImage(payload, DecodeLimits())
        height, width = image.size
        index, member = _telling(opened.head.members)
        patches = _patches(opened, image, member)  # [T, P, C]
        apart = opened.head.measure(index, patches).mean(axis=1).reshape(-1)  # [T * P]
        centres = _centres(opened.artifact.preparation, member.grid, patches.shape[1], (height, width))
        region = max(regions, key=lambda each: each.peak_level)
        worst = _worst_within(region, centres, apart)
        prototype = opened.head.nearest(index, patches).reshape(-1)[worst]
        name, good = enrolled_image(
            self._config.agent.state_dir, product, opened.digest, int(member.sources[prototype, 0])
        )
        good_image = EncodedImage(good, DecodeLimits())
        good_size = good_image.size
        at = _place_of(opened, member, good_image, member.bank.prototypes[prototype])
        side = max(AROUND * max(region.width, region.height), LEAST_SHARE * min(height, width))
        good_side = side * min(good_size) / min(height, width)
        return NearestGood(
            Spot(payload, _box(centres[worst], side, (height, width))), Spot(good, _box(at, good_side, good_size)), name
        )

    def _open(self, content: bytes) -> _Opened:
        artifact = unpack(content)
        if not isinstance(artifact.head, PrototypeModel):
            raise ArtifactError(
                f"a {artifact.head.kind} head compares a part with no single good image; a prototype head does."
            )
        name = "onnxruntime" if artifact.precision == FLOAT32 else "openvino"
        engine = create_engine(name, cache_of(self._config), 1, artifact.precision)
        weights = find_weights(artifact.manifest.get("weights_file"), self._config.engine.weights_dir)
        embedder = engine.embedder(artifact.graph, weights, small=True, precision=artifact.precision)
        head = artifact.head.open(engine)
        return _Opened(digest_of(content), artifact, head, tiled(embedder, artifact.preparation))


def _telling(members: tuple[Member, ...]) -> tuple[int, Member]:
    """The member whose map counts most, of those that know where their prototypes come from. Raises ArtifactError."""
    known = [
        (index, member)
        for index, member in enumerate(members)
        if not member.bank.is_pooled and bool((member.sources[:, 0] >= 0).all())
    ]
    if not known:
        raise ArtifactError("this version does not say which images its prototypes come from; enrol it again.")
    return max(known, key=lambda each: (each[1].in_map, each[1].in_decision))


def _patches(opened: _Opened, image: EncodedImage, member: Member) -> NDArray[np.float32]:
    """The frame's patches of the member's embedding, tile by tile: [T, P, C]."""
    preparation = opened.artifact.preparation
    embedded = opened.embedder(prepare(image, preparation)[None])
    return on_host(split_tiles(embedded, preparation)[member.embedding])


def _centres(preparation: Preparation, grid: int, cells: int, size: tuple[int, int]) -> NDArray[np.float64]:
    """x and y of the middle of each cell in pixels of the frame, tile by tile: [T * P, 2].

    Cells outside the frame, where its edges are reflected, have a place outside.
    """
    rows, columns = np.divmod(np.arange(grid * grid), grid)
    if cells != grid * grid:  # a checkered grid has the fields of one colour
        of_one_colour = (rows + columns) % 2 == 0
        rows, columns = rows[of_one_colour], columns[of_one_colour]
    step = preparation.size_px / grid
    tops, lefts = np.array(corners(preparation)).T
    y = (tops[:, None] + (rows + 0.5) * step).reshape(-1)
    x = (lefts[:, None] + (columns + 0.5) * step).reshape(-1)
    height, width = size
    at, (crop_rows, crop_columns) = place(height, width, preparation), crop_of(height, width, preparation)
    x = crop_columns.start + (x - at.left) / at.width * (crop_columns.stop - crop_columns.start)
    y = crop_rows.start + (y - at.top) / at.height * (crop_rows.stop - crop_rows.start)
    return np.stack([x, y], axis=1)


def _worst_within(region: Region, centres: NDArray[np.float64], apart: NDArray[np.float32]) -> int:
    """The cell within the region that is farthest from all that is good; the cell nearest to it if it holds none."""
    x, y = centres[:, 0], centres[:, 1]
    inside = (x >= region.x) & (x <= region.x + region.width) & (y >= region.y) & (y <= region.y + region.height)
    if not inside.any():
        middle = np.array([region.x + region.width / 2, region.y + region.height / 2])
        return int(((centres - middle) ** 2).sum(axis=1).argmin())
    return int(np.where(inside, apart, -np.inf).argmax())


def _place_of(
    opened: _Opened, member: Member, image: EncodedImage, prototype: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Where in its image a prototype comes from: x and y in pixels."""
    patches = _patches(opened, image, member)
    bank = member.bank
    vectors = patches.reshape(-1, patches.shape[-1]) - bank.mean
    if bank.projection is not None:
        vectors = vectors @ bank.projection
    if bank.unit_length:
        vectors = unit_length(vectors)
    nearest = int(((vectors - prototype) ** 2).sum(axis=1).argmin())
    centres: NDArray[np.float64] = _centres(opened.artifact.preparation, member.grid, patches.shape[1], image.size)
    place_px: NDArray[np.float64] = centres[nearest]
    return place_px


def _box(centre: NDArray[np.float64], side: float, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A square around the centre, moved into the image."""
    height, width = size
    whole = min(round(side), height, width)
    left = min(max(0, round(centre[0] - whole / 2)), width - whole)
    top = min(max(0, round(centre[1] - whole / 2)), height - whole)
    return left, top, left + whole, top + whole
