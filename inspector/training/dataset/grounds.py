"""Keeps the images of an enrolment on disk at the resolution for drawing defects, so that none is decoded twice.

A copy has at most twice the resolution that the head sees. It takes 0.8 MB at 256 px, and never more than 13 MB. Where
all copies would take more than the bound, the images beyond it are decoded again when they are needed; every other
image of an enrolment is decoded once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from inspector.errors import EnrolmentError, UndecodableFrame
from inspector.stream.decode import DecodeLimits, EncodedImage
from inspector.training.dataset.folders import ImageSource
from inspector.training.dataset.spill import Spill
from inspector.training.defects.planting import Ground, drawn_side_px
from inspector.vision.images.preparation import Preparation
from inspector.vision.images.resizing import HALVING, Halving, Pyramid

GROUND_BYTES = 4 * 2**30
"""Largest number of bytes on disk: 5,000 images at 256 px, and at least 340 images for any camera and tiles."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """Where an image's copies lie: by side, the row of its spill and its scale. Empty where none was kept."""

    source: ImageSource
    copies: dict[int, tuple[int, float]]


class Grounds:
    """Images by index. `sides_px`: the resolutions that will be needed, see `planting.drawn_side_px`.

    `folder`: where the temporary files lie, None for the system's place. `limit_bytes`: most room they take, None for
    `GROUND_BYTES`. `halving`: who halves large images.
    """

    def __init__(
        self,
        sides_px: Iterable[int],
        limits: DecodeLimits,
        folder: Path | None = None,
        limit_bytes: int | None = None,
        *,
        halving: Halving = HALVING,
    ) -> None:
        self._spills = {side: Spill(folder) for side in sorted(set(sides_px))}
        self._limits = limits
        self._halving = halving
        self._room = GROUND_BYTES if limit_bytes is None else limit_bytes
        self._images: list[_Kept] = []

    def append(self, source: ImageSource, pyramid: Pyramid) -> None:
        """The next image. Its pixels are kept while there is room; the source is remembered."""
        copies: dict[int, tuple[int, float]] = {}
        for side, spill in self._spills.items():
            ground = Ground.within(pyramid, side)
            if ground.pixels.nbytes > self._room:
                continue
            self._room -= ground.pixels.nbytes
            copies[side] = (len(spill), ground.scale)
            spill.append(ground.pixels)
        self._images.append(_Kept(source, copies))

    def __len__(self) -> int:
        return len(self._images)

    def without(self, indices: frozenset[int]) -> Grounds:
        """The same images without the given ones. The files are shared."""
        other = object.__new__(Grounds)
        other._spills, other._room = self._spills, self._room
        other._limits, other._halving = self._limits, self._halving
        other._images = [image for index, image in enumerate(self._images) if index not in indices]
        return other

    def of(self, images: Sequence[int], preparation: Preparation) -> Sequence[Ground]:
        """Copies of these images to draw defects on, at the resolution for this preparation, read one by one."""
        return _Selected(self, images, drawn_side_px(preparation))

    def at(self, image: int, side_px: int) -> Ground:
        """The copy of one image. Raises EnrolmentError if the image was not kept and can no longer be read."""
        kept = self._images[image]
        if side_px in kept.copies:
            row, scale = kept.copies[side_px]
            return Ground(self._spills[side_px][row], scale)
        try:
            again = EncodedImage(kept.source.read(), self._limits)
            return Ground.within(Pyramid(again, self._halving), side_px)
        except (OSError, UndecodableFrame) as error:
            raise EnrolmentError(f"{kept.source.name} can't be read any more: {error}; enrol it again.") from error


class _Selected(Sequence[Ground]):
    def __init__(self, grounds: Grounds, images: Sequence[int], side_px: int) -> None:
        self._grounds = grounds
        self._images = images
        self._side_px = side_px

    def __len__(self) -> int:
        return len(self._images)

    @overload
    def __getitem__(self, index: int) -> Ground: ...
    @overload
    def __getitem__(self, index: slice) -> list[Ground]: ...
    def __getitem__(self, index: int | slice) -> Ground | list[Ground]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return self._grounds.at(self._images[index], self._side_px)
