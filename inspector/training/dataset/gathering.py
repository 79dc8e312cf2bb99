"""Reads and decodes each image of an enrolment once, and keeps on disk everything that is needed of it later.

This is the canvas of each preparation that may be enrolled, the routing copy and its patches, and the copy that defects
are drawn on. It takes about a megabyte an image at 256 px, whatever the camera's resolution. Memory does not grow with
the number of images. Unreadable images and duplicates are named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from inspector.errors import UndecodableFrame
from inspector.stream.decode import DecodeLimits, EncodedImage
from inspector.training.dataset.encodings import Encoding, encoding_of
from inspector.training.dataset.exposed import Exposed
from inspector.training.dataset.folders import HEAD_BYTES, ImageSource, kind_of
from inspector.training.dataset.grounds import Grounds
from inspector.training.dataset.spill import Spill
from inspector.training.defects.planting import drawn_side_px
from inspector.vision.images.preparation import Preparation, prepare
from inspector.vision.images.resizing import Pyramid
from inspector.vision.routing.profile import routing_copy
from inspector.vision.routing.routing_pass import RoutingPass

Progress = Callable[[str, int, int], None]
"""Called with the phase's name, the number of steps done, and the number of all steps."""


@dataclass(slots=True)
class Gathered:
    """The usable images in the order in which they came. Every list up to `sizes` has one entry per image.

    `inputs`: the canvases of the first preparation, uint8 [Hc, Wc, 3]; `canvases`: those of every preparation;
    `routing`: uint8 [128, 128, 3]; `route_patches`: float16 [P, C], unit length; `grounds`: what defects are drawn on,
    at the resolutions that were asked for; `sizes`: height and width of each as it came; `encodings`: what its file
    says besides the pixels. `unreadable`: (name, reason); `duplicates`: (name, of which).
    """

    inputs: Spill
    routing: Spill
    route_patches: Spill
    canvases: dict[Preparation, Spill] = field(default_factory=dict)
    grounds: Grounds = field(default_factory=lambda: Grounds([], DecodeLimits()))
    names: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    encodings: list[Encoding] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    duplicates: list[tuple[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)

    def without(self, indices: frozenset[int]) -> Gathered:
        """The same set without these images."""
        kept = [index for index in range(len(self)) if index not in indices]
        return replace(
            self,
            inputs=self.inputs.without(indices),
            canvases={preparation: spill.without(indices) for preparation, spill in self.canvases.items()},
            grounds=self.grounds.without(indices),
            routing=self.routing.without(indices),
            route_patches=self.route_patches.without(indices),
            names=[self.names[index] for index in kept],
            digests=[self.digests[index] for index in kept],
            sizes=[self.sizes[index] for index in kept],
            encodings=[self.encodings[index] for index in kept],
        )

    def prepared_as(self, preparation: Preparation, folder: Path | None = None) -> Gathered:
        """The same set with `inputs` of this preparation: one of `canvases`, or one of those at another exposure.

        `folder`: as in `Gatherer`. Raises KeyError for a preparation that was not gathered.
        """
        if preparation in self.canvases:
            return replace(self, inputs=self.canvases[preparation])
        plain = replace(preparation, exposure="as_is")
        inputs = Spill(folder)
        for canvas in Exposed(self.canvases[plain], plain, preparation.exposure):
            inputs.append(canvas)
        return replace(self, inputs=inputs)


class Gatherer:
    """Takes images one by one. `preparations`: all preparations that may be enrolled, the most likely one first;
    they halve large frames alike.

    `is_drawn_on`: defects will be drawn on the images. `folder`: where the temporary files lie, None for the system's
    place.
    """

    def __init__(
        self,
        preparations: Sequence[Preparation],
        limits: DecodeLimits,
        routing_pass: RoutingPass,
        folder: Path | None = None,
        *,
        is_drawn_on: bool = False,
    ) -> None:
        self._limits = limits
        self._routing_pass = routing_pass
        self._first_name: dict[str, str] = {}
        canvases = {preparation: Spill(folder) for preparation in preparations}
        sides = [drawn_side_px(preparation) for preparation in preparations] if is_drawn_on else []
        self._first, *self._others = canvases
        self._halving = self._first.halving
        grounds = Grounds(sides, limits, folder, halving=self._halving)
        self.gathered = Gathered(canvases[preparations[0]], Spill(folder), Spill(folder), canvases, grounds)

    def add(self, image: ImageSource) -> None:
        """Keep an image, or note why it is not kept: it can't be read, or it equals an earlier image."""
        try:
            payload = image.read()
            pyramid = Pyramid(EncodedImage(payload, self._limits), self._halving)
            prepared = prepare(pyramid, self._first)
        except OSError as error:
            self.gathered.unreadable.append((image.name, error.strerror or str(error)))
            return
        except UndecodableFrame as error:
            self.gathered.unreadable.append((image.name, _reason(payload, error)))
            return
        digest = hashlib.sha256(payload).hexdigest()
        # The same picture in other bytes (saved by an editor) would sit on both sides of the split too.
        looks = hashlib.sha256(prepared.tobytes()).hexdigest()
        twin = self._first_name.get(digest) or self._first_name.get(looks)
        if twin is not None:
            self.gathered.duplicates.append((image.name, twin))
            return
        self._first_name[digest] = self._first_name[looks] = image.name
        self.gathered.inputs.append(prepared)
        for preparation in self._others:
            self.gathered.canvases[preparation].append(prepare(pyramid, preparation))
        self._keep(image, digest, pyramid)
        self.gathered.encodings.append(encoding_of(payload))

    def _keep(self, image: ImageSource, digest: str, pyramid: Pyramid) -> None:
        copy = routing_copy(pyramid)
        patches = self._routing_pass.patches_of_copy(copy)
        kept = self.gathered
        kept.names.append(image.name)
        kept.sizes.append(pyramid.size)
        kept.digests.append(digest)
        kept.grounds.append(image, pyramid)
        kept.routing.append(copy)
        kept.route_patches.append(patches.astype(np.float16))


def _reason(payload: bytes, error: UndecodableFrame) -> str:
    kind = kind_of(payload[:HEAD_BYTES])
    return f"{kind} by content, whatever its name; convert it to PNG" if kind else str(error)


def gather(images: Sequence[ImageSource], gatherer: Gatherer, progress: Progress) -> Gathered:
    """Gather all sources in order."""
    for done, image in enumerate(images, start=1):
        gatherer.add(image)
        progress("read", done, len(images))
    return gatherer.gathered
