"""The frozen teacher's maps of many images, computed once and held in bounded memory. NumPy only."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from inspector.vision.engines.protocols import Embedder, on_host
from inspector.vision.networks.student_graph import MAPS

CACHE_BYTES = 1 << 30
BATCH = 8
_LARGEST = float(np.finfo(np.float16).max)
FLATTEST = 1e-3
"""Lower bound for a channel's spread, as a share of the mean spread: a channel in which good images hardly vary must
not be scaled up to noise."""


class TeacherMaps:
    """Stem, low and high of images by index, float16 [P, C] each.

    Where all of them would take more than `limit_bytes`, an even sample over the order given is kept;
    `indices` says which.
    """

    def __init__(self, indices: Sequence[int], arrays: dict[str, NDArray[np.float16]]) -> None:
        self.indices = tuple(indices)
        self._arrays = arrays
        self._rows = {image: row for row, image in enumerate(indices)}

    @property
    def channels(self) -> tuple[int, int, int]:
        stem, low, high = (self._arrays[name].shape[2] for name in MAPS)
        return stem, low, high

    @property
    def digest(self) -> str:
        """SHA-256 over all maps, which identifies a training on them."""
        found = hashlib.sha256(repr(self.indices).encode())
        for name in MAPS:
            found.update(np.ascontiguousarray(self._arrays[name]).view(np.uint8).data)
        return found.hexdigest()

    def of(self, name: str, image: int) -> NDArray[np.float16]:
        """One map of one image, a view [P, C]."""
        return np.asarray(self._arrays[name][self._rows[image]])

    def standardisation(self, images: Sequence[int]) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Mean and 1 / spread per channel, over these images, of each of the three maps."""
        found = {}
        for name in MAPS:
            total = np.zeros(self._arrays[name].shape[2])
            squares, count = total.copy(), 0
            for image in images:
                patches = self.of(name, image).astype(np.float64)
                total += patches.sum(axis=0)
                squares += np.square(patches).sum(axis=0)
                count += len(patches)
            mean = total / count
            spread = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
            spread = np.maximum(spread, max(FLATTEST * float(spread.mean()), 1e-6))
            found[name] = (mean.astype(np.float32), (1.0 / spread).astype(np.float32))
        return found


def look(
    inputs: Sequence[NDArray[np.uint8]],
    indices: Sequence[int],
    embedder: Embedder,
    progress: Callable[[int, int], None],
    limit_bytes: int = CACHE_BYTES,
) -> TeacherMaps:
    """The teacher's maps of these images. `embedder` gives stem, low and high; `inputs` are prepared squares."""
    first = [on_host(each) for each in embedder(inputs[indices[0]][None])]
    size = sum(2 * each[0].size for each in first)
    room = max(2, limit_bytes // size)
    kept = list(indices)
    if len(kept) > room:
        kept = [kept[i] for i in np.linspace(0, len(kept) - 1, room).round().astype(int)]
    arrays = {name: np.empty((len(kept), *each.shape[1:]), np.float16) for name, each in zip(MAPS, first, strict=True)}
    for start in range(0, len(kept), BATCH):
        batch = kept[start : start + BATCH]
        embedded = embedder(np.stack([inputs[i] for i in batch]))
        for name, patches in zip(MAPS, embedded, strict=True):
            arrays[name][start : start + len(batch)] = np.clip(on_host(patches), -_LARGEST, _LARGEST)
        progress(start + len(batch), len(kept))
    return TeacherMaps(kept, arrays)
