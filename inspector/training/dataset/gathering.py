"""Reads the images of an enrolment once: decoded, prepared, looked at by the routing pass, named faults aside.

Pixels and patches go to a temporary file, a quarter of a megabyte an image at 256 px whatever the camera's
resolution, so that memory does not grow with the number of images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inspector.errors import UndecodableFrame
from inspector.stream.decode import DecodeLimits, decode
from inspector.training.dataset.encodings import Encoding, encoding_of
from inspector.training.dataset.folders import HEAD_BYTES, ImageSource, kind_of
from inspector.training.dataset.spill import Spill
from inspector.vision.engines.protocols import Embedder, on_host
from inspector.vision.images.preparation import Preparation, prepare
from inspector.vision.images.resizing import Pyramid
from inspector.vision.routing.profile import routing_copy, routing_profile

Progress = Callable[[str, int, int], None]
"""Called with the phase's name, how much of it is done, and how much it is."""


@dataclass(slots=True)
class Gathered:
    """The usable images in the order they came, one entry each in every list down to `route_patches`.

    `inputs`: the prepared canvases, uint8 [Hc, Wc, 3]; `routing`: uint8 [128, 128, 3]; `route_patches`: float16
    [P, C], unit length; `sources`: where they came from; `sizes`: height and width of each as it came;
    `encodings`: what else its file says of it.
    `unreadable`: (name, reason); `duplicates`: (name, of which).
    """

    inputs: Spill
    routing: Spill
    route_patches: Spill
    names: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    sources: list[ImageSource] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    encodings: list[Encoding] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    duplicates: list[tuple[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)

    def without(self, indices: frozenset[int]) -> Gathered:
        """The same set but these images."""
        kept = [index for index in range(len(self)) if index not in indices]
        return replace(
            self,
            inputs=self.inputs.without(indices),
            routing=self.routing.without(indices),
            route_patches=self.route_patches.without(indices),
            names=[self.names[index] for index in kept],
            digests=[self.digests[index] for index in kept],
            sources=[self.sources[index] for index in kept],
            sizes=[self.sizes[index] for index in kept],
            encodings=[self.encodings[index] for index in kept],
        )


class Gatherer:
    """Takes images one by one. `route_embedder` is the routing pass; `folder` is where the temporary files lie."""

    def __init__(
        self, preparation: Preparation, limits: DecodeLimits, route_embedder: Embedder, folder: Path | None = None
    ) -> None:
        self._preparation = preparation
        self._limits = limits
        self._route_embedder = route_embedder
        self._first_name: dict[str, str] = {}
        self.gathered = Gathered(Spill(folder), Spill(folder), Spill(folder))

    def add(self, image: ImageSource) -> None:
        """Keep it, or note why not: it can't be read, or an equal one is there."""
        try:
            payload = image.read()
            pixels = decode(payload, self._limits)
        except OSError as error:
            self.gathered.unreadable.append((image.name, error.strerror or str(error)))
            return
        except UndecodableFrame as error:
            self.gathered.unreadable.append((image.name, _reason(payload, error)))
            return
        pyramid = Pyramid(pixels)
        prepared = prepare(pyramid, self._preparation)
        digest = hashlib.sha256(payload).hexdigest()
        # The same picture in other bytes (saved by an editor) would sit on both sides of the split too.
        looks = hashlib.sha256(prepared.tobytes()).hexdigest()
        twin = self._first_name.get(digest) or self._first_name.get(looks)
        if twin is not None:
            self.gathered.duplicates.append((image.name, twin))
            return
        self._first_name[digest] = self._first_name[looks] = image.name
        self._keep(image, digest, pyramid, prepared)
        self.gathered.encodings.append(encoding_of(payload))

    def _keep(self, image: ImageSource, digest: str, pyramid: Pyramid, prepared: NDArray[np.uint8]) -> None:
        copy = routing_copy(pyramid)
        patches = routing_profile().patches(on_host(self._route_embedder(copy[None])[0])[0])
        kept = self.gathered
        kept.names.append(image.name)
        kept.sources.append(image)
        kept.sizes.append((pyramid.pixels.shape[0], pyramid.pixels.shape[1]))
        kept.digests.append(digest)
        kept.inputs.append(prepared)
        kept.routing.append(copy)
        kept.route_patches.append(patches.astype(np.float16))


def _reason(payload: bytes, error: UndecodableFrame) -> str:
    kind = kind_of(payload[:HEAD_BYTES])
    return f"{kind} by content, whatever its name; convert it to PNG" if kind else str(error)


def gather(images: Sequence[ImageSource], gatherer: Gatherer, progress: Progress) -> Gathered:
    """All of them, in order."""
    for done, image in enumerate(images, start=1):
        gatherer.add(image)
        progress("read", done, len(images))
    return gatherer.gathered
