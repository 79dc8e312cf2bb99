"""Finds test images that are training images too: the same bytes, or the same pixels in other bytes.

A head knows the images that it was fitted on; figures on them say nothing of parts that it has not seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from inspector.domain import Image
from inspector.errors import UndecodableFrame
from inspector.stream.decode import DecodeLimits, EncodedImage, overview
from inspector.training.dataset.folders import ImageSource


def prints_of(payload: bytes, image: Image) -> tuple[str, str]:
    """SHA-256 of an image's bytes, and of its size and pixels as routing sees it, hex. Raises UndecodableFrame."""
    pixels = overview(image)
    looks = hashlib.sha256(repr(image.size).encode())
    looks.update(np.ascontiguousarray(pixels).data)
    return hashlib.sha256(payload).hexdigest(), looks.hexdigest()


@dataclass(frozen=True, slots=True)
class TrainingPrints:
    """`known`: print -> the training image that has it. `unreadable`: (path, reason) of those that can't be learnt."""

    known: Mapping[str, Path]
    unreadable: list[tuple[Path, str]] = field(default_factory=list)

    def twin_of(self, prints: tuple[str, str]) -> Path | None:
        """The training image that equals a test image, or None."""
        return next((self.known[each] for each in prints if each in self.known), None)


def training_prints(paths: Iterable[Path], limits: DecodeLimits, progress: Callable[[int], None]) -> TrainingPrints:
    """Of all training images; reads each once."""
    known: dict[str, Path] = {}
    unreadable: list[tuple[Path, str]] = []
    for done, path in enumerate(paths, start=1):
        try:
            payload = ImageSource.of(path).read()
            prints = prints_of(payload, EncodedImage(payload, limits))
        except (OSError, UndecodableFrame) as error:
            unreadable.append((path, reason_of(error)))
        else:
            for each in prints:
                known.setdefault(each, path)
        progress(done)
    return TrainingPrints(known, unreadable)


def reason_of(error: OSError | UndecodableFrame) -> str:
    """Why an image can't be read, without its path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
