"""Labelled test sets on disk, in the MVTec-AD layout: `train/good`, `test/good`, `test/<defect>`, `ground_truth`.

Knows where things are, never what they show. Faults of the layout are named all at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inspector.errors import UsageError
from inspector.stream.decode import DecodeLimits, decode
from inspector.vision.folders import IMAGE_SUFFIXES

GOOD = "good"


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One test image. `defect` is None for a good one; `mask` None where there is none."""

    path: Path
    defect: str | None
    mask: Path | None


@dataclass(frozen=True, slots=True)
class LabelledProduct:
    """One product's images. `has_masks`: every defective image has one."""

    name: str
    train: tuple[Path, ...]
    test: tuple[LabelledImage, ...]

    @property
    def has_masks(self) -> bool:
        defective = [image for image in self.test if image.defect is not None]
        return bool(defective) and all(image.mask is not None for image in defective)


def read_layout(root: Path, only: tuple[str, ...] | None = None) -> list[LabelledProduct]:
    """The products under `root`, by name; `only` these where given. Raises UsageError naming every fault."""
    if not root.is_dir():
        raise UsageError(f"There is no folder {root}.")
    names = only or tuple(sorted(path.name for path in root.iterdir() if (path / "train").is_dir()))
    if not names:
        raise UsageError(f"No product is in {root}: a product is a folder with train/good and test/ in it.")
    faults: list[str] = []
    products = [_read_product(root / name, faults) for name in names]
    if faults:
        raise UsageError("The layout is wrong: " + "; ".join(faults) + ".")
    return products


def read_mask(path: Path, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """bool [H, W], True on the defect. Raises UsageError where it has another size than its image."""
    mask = decode(path.read_bytes(), DecodeLimits())[:, :, 0] > 0
    if mask.shape != shape:
        raise UsageError(f"The mask {path} is {mask.shape[1]}x{mask.shape[0]}, its image {shape[1]}x{shape[0]}.")
    return mask


def _read_product(folder: Path, faults: list[str]) -> LabelledProduct:
    train = _images(folder / "train" / GOOD)
    if not folder.is_dir():
        faults.append(f"there is no folder {folder}")
    elif not train:
        faults.append(f"there is no image in {folder / 'train' / GOOD}")
    elif not (folder / "test").is_dir():
        faults.append(f"there is no folder {folder / 'test'}")
    kinds = sorted(path for path in folder.glob("test/*") if path.is_dir())
    test = [_labelled(folder, kind.name, path) for kind in kinds for path in _images(kind)]
    if folder.is_dir() and train and not test:
        faults.append(f"there is no image under {folder / 'test'}")
    return LabelledProduct(folder.name, tuple(train), tuple(test))


def _labelled(folder: Path, kind: str, path: Path) -> LabelledImage:
    if kind == GOOD:
        return LabelledImage(path, None, None)
    mask = folder / "ground_truth" / kind / f"{path.stem}_mask.png"
    return LabelledImage(path, kind, mask if mask.is_file() else None)


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
