"""Reads the images of an enrolment once: decoded, prepared, looked at by the routing pass, named faults aside.

Memory per image: its prepared canvas and its routing copy, a quarter of a megabyte at 256 px without tiles,
whatever the camera's resolution; canvases beyond half a gigabyte wait on disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from inspector.errors import UndecodableFrame
from inspector.stream.decode import DecodeLimits, decode
from inspector.vision.anchors import routing_copy, routing_profile
from inspector.vision.engines import Embedder, on_host
from inspector.vision.folders import ImageSource
from inspector.vision.preprocessing import Preparation, prepare
from inspector.vision.spilling import SpilledPixels

Progress = Callable[[str, int, int], None]
"""Called with the phase's name, how much of it is done, and how much it is."""


@dataclass(slots=True)
class Gathered:
    """The usable images in the order they came, one entry each in every list down to `route_patches`.

    `inputs`: the prepared canvases, uint8 [Hc, Wc, 3]; `routing`: uint8 [128, 128, 3]; `route_patches`: float16
    [P, C], unit length.
    `unreadable`: (name, reason); `duplicates`: (name, of which).
    """

    names: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    inputs: SpilledPixels = field(default_factory=SpilledPixels)
    routing: list[NDArray[np.uint8]] = field(default_factory=list)
    route_patches: list[NDArray[np.float16]] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    duplicates: list[tuple[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)


class Gatherer:
    """Takes images one by one. `route_embedder` is the routing pass."""

    def __init__(self, preparation: Preparation, limits: DecodeLimits, route_embedder: Embedder) -> None:
        self._preparation = preparation
        self._limits = limits
        self._route_embedder = route_embedder
        self._first_name: dict[str, str] = {}
        self.gathered = Gathered()

    def add(self, image: ImageSource) -> None:
        """Keep it, or note why not: it can't be read, or an equal one is there."""
        try:
            payload = image.read()
            pixels = decode(payload, self._limits)
        except (OSError, UndecodableFrame) as error:
            self.gathered.unreadable.append((image.name, str(error)))
            return
        prepared = prepare(pixels, self._preparation)
        digest = hashlib.sha256(payload).hexdigest()
        # The same picture in other bytes (saved by an editor) would sit on both sides of the split too.
        looks = hashlib.sha256(prepared.tobytes()).hexdigest()
        twin = self._first_name.get(digest) or self._first_name.get(looks)
        if twin is not None:
            self.gathered.duplicates.append((image.name, twin))
            return
        self._first_name[digest] = self._first_name[looks] = image.name
        self._keep(image.name, digest, pixels, prepared)

    def _keep(self, name: str, digest: str, pixels: NDArray[np.uint8], prepared: NDArray[np.uint8]) -> None:
        copy = routing_copy(pixels)
        patches = routing_profile().patches(on_host(self._route_embedder(copy[None])[0])[0])
        kept = self.gathered
        kept.names.append(name)
        kept.digests.append(digest)
        kept.inputs.append(prepared)
        kept.routing.append(copy)
        kept.route_patches.append(patches.astype(np.float16))


def gather(images: Sequence[ImageSource], gatherer: Gatherer, progress: Progress) -> Gathered:
    """All of them, in order."""
    for done, image in enumerate(images, start=1):
        gatherer.add(image)
        progress("read", done, len(images))
    return gatherer.gathered
