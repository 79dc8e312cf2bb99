"""Labelled test sets on disk, in the layouts of MVTec AD (also MPDD's), BTAD, VisA and MVTec LOCO.

Knows where things are, never what they show. A layout is recognised by its folders, or named; faults are
named all at once. What each is read as:

* `mvtec`: `<product>/train/good`, `test/good`, `test/<defect>`, `ground_truth/<defect>/<stem>_mask.png`.
* `btad`: `<product>/train/ok`, `test/ok`, `test/ko`, `ground_truth/ko/<stem>.<any image suffix>`; some images are BMP.
* `visa`: `<product>/Data/Images/{Normal,Anomaly}`, masks named in `split_csv/1cls.csv`, whose split is used.
* `loco`: as `mvtec`, with several masks per image, `ground_truth/<defect>/<stem>/000.png`, and AUPRO undefined
  (its masks allow for more places than must be found: the set's own measure is sPRO). `validation/good` is not read,
  so that heads are fitted on what everybody else's are.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.errors import UsageError
from inspector.training.dataset.folders import IMAGE_SUFFIXES, ImageSource

SUFFIXES = (*IMAGE_SUFFIXES, ".bmp")
VISA_SPLIT = Path("split_csv") / "1cls.csv"
VISA_COLUMNS = {"object", "split", "label", "image", "mask"}


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One test image. `defect` is None for a good one. The union of `masks`, where there are any, is the defect."""

    path: Path
    defect: str | None
    masks: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelledProduct:
    """One product's images. `has_regions`: each connected part of a mask is a defect to be found (AUPRO's premise)."""

    name: str
    train: tuple[Path, ...]
    test: tuple[LabelledImage, ...]
    has_regions: bool = True

    @property
    def has_masks(self) -> bool:
        """Whether every defective image has one."""
        defective = [image for image in self.test if image.defect is not None]
        return bool(defective) and all(image.masks for image in defective)


def read_layout(root: Path, only: tuple[str, ...] | None = None, layout: str | None = None) -> list[LabelledProduct]:
    """The products under `root`, by name; `only` these where given. Raises UsageError naming every fault.

    `layout`: one of `LAYOUTS`, or None to recognise it.
    """
    if not root.is_dir():
        raise UsageError(f"There is no folder {root}.")
    reader = _reader(layout or recognise(root))
    known = reader.products(root)
    if not known:
        raise UsageError(f"No product is in {root}: a product is a folder with train/good and test/ in it.")
    unknown = [name for name in only or () if name not in known]
    if unknown:
        raise UsageError(f"There is no product {', '.join(unknown)} in {root}; the products are {', '.join(known)}.")
    names = only or known
    faults: list[str] = []
    products = [reader.read(root, name, faults) for name in names]
    if faults:
        raise UsageError("The layout is wrong: " + "; ".join(faults) + ".")
    return products


def recognise(root: Path) -> str:
    """The name of the layout that the folders under `root` follow; `mvtec` where nothing speaks for another."""
    if (root / VISA_SPLIT).is_file():
        return "visa"
    if any(root.glob("*/train/ok")):
        return "btad"
    if any(folder.is_dir() for folder in root.glob("*/ground_truth/*/*")):
        return "loco"
    return "mvtec"


def training_images(root: Path) -> dict[str, list[ImageSource]]:
    """Good training images by product, empty where `root` holds no product in any layout. Raises UsageError."""
    reader = _reader(recognise(root))
    found = {name: reader.read(root, name, []).train for name in reader.products(root)}
    return {name: [ImageSource(str(path), path=path) for path in paths] for name, paths in found.items() if paths}


def read_mask(paths: Iterable[Path], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """bool [H, W], True where any of the masks is not black. Raises UsageError where one has another size."""
    union = np.zeros(shape, np.bool_)
    for path in paths:
        found = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
        if found is None:
            raise UsageError(f"The mask {path} is no image.")
        mask = found if found.ndim == 2 else found[:, :, :3].max(axis=2)
        if mask.shape != shape:
            raise UsageError(f"The mask {path} is {mask.shape[1]}x{mask.shape[0]}, its image {shape[1]}x{shape[0]}.")
        union |= mask > 0
    return union


FindMasks = Callable[[Path, Path], tuple[Path, ...]]
"""From the masks' folder of a kind of defect, and the image, to the image's masks."""


@dataclass(frozen=True, slots=True)
class _Folders:
    """Layouts in which folders say what an image is."""

    good: str
    masks: FindMasks
    has_regions: bool = True

    def products(self, root: Path) -> tuple[str, ...]:
        return tuple(sorted(path.name for path in root.iterdir() if (path / "train").is_dir()))

    def read(self, root: Path, name: str, faults: list[str]) -> LabelledProduct:
        folder = root / name
        train = _images(folder / "train" / self.good)
        if not train:
            faults.append(f"there is no image in {folder / 'train' / self.good}")
        elif not (folder / "test").is_dir():
            faults.append(f"there is no folder {folder / 'test'}")
        kinds = sorted(path for path in folder.glob("test/*") if path.is_dir())
        test = [self._labelled(folder, kind.name, path) for kind in kinds for path in _images(kind)]
        if train and (folder / "test").is_dir() and not test:
            faults.append(f"there is no image under {folder / 'test'}")
        return LabelledProduct(name, tuple(train), tuple(test), self.has_regions)

    def _labelled(self, folder: Path, kind: str, path: Path) -> LabelledImage:
        if kind == self.good:
            return LabelledImage(path, None)
        return LabelledImage(path, kind, self.masks(folder / "ground_truth" / kind, path))


class _VisaSplit:
    """The layout in which a table says what an image is."""

    def products(self, root: Path) -> tuple[str, ...]:
        return tuple(sorted({row["object"] for row in self._rows(root)}))

    def read(self, root: Path, name: str, faults: list[str]) -> LabelledProduct:
        rows = [row for row in self._rows(root) if row["object"] == name]
        missing = sum(not (root / row[key]).is_file() for row in rows for key in ("image", "mask") if row[key])
        if missing:
            faults.append(f"{missing} files of {name} that {root / VISA_SPLIT} names are missing")
        train = [root / row["image"] for row in rows if row["split"] == "train" and row["label"] == "normal"]
        test = [
            LabelledImage(root / row["image"], None)
            if row["label"] == "normal"
            else LabelledImage(root / row["image"], row["label"], (root / row["mask"],) if row["mask"] else ())
            for row in rows
            if row["split"] == "test"
        ]
        for what, images in (("training", train), ("test", test)):
            if not images:
                faults.append(f"{root / VISA_SPLIT} names no {what} image of {name}")
        return LabelledProduct(name, tuple(sorted(train)), tuple(sorted(test, key=lambda image: image.path)))

    @staticmethod
    def _rows(root: Path) -> list[dict[str, str]]:
        path = root / VISA_SPLIT
        if not path.is_file():
            raise UsageError(f"There is no {path}, which says what each image of a VisA folder is.")
        with path.open(newline="", encoding="utf-8") as lines:
            table = csv.DictReader(lines)
            if not set(table.fieldnames or ()) >= VISA_COLUMNS:
                raise UsageError(f"{path} needs the columns {', '.join(sorted(VISA_COLUMNS))}.")
            return list(table)


def _mvtec_masks(folder: Path, path: Path) -> tuple[Path, ...]:
    mask = folder / f"{path.stem}_mask.png"
    return (mask,) if mask.is_file() else ()


def _btad_masks(folder: Path, path: Path) -> tuple[Path, ...]:
    return tuple(mask for suffix in SUFFIXES if (mask := folder / f"{path.stem}{suffix}").is_file())[:1]


def _loco_masks(folder: Path, path: Path) -> tuple[Path, ...]:
    return tuple(_images(folder / path.stem))


_READERS: dict[str, _Folders | _VisaSplit] = {
    "mvtec": _Folders("good", _mvtec_masks),
    "btad": _Folders("ok", _btad_masks),
    "visa": _VisaSplit(),
    "loco": _Folders("good", _loco_masks, has_regions=False),
}
LAYOUTS = tuple(_READERS)


def _reader(layout: str) -> _Folders | _VisaSplit:
    if layout not in _READERS:
        raise UsageError(f"There is no layout {layout!r}; choose {', '.join(LAYOUTS)}.")
    return _READERS[layout]


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
