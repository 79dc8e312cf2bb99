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
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.domain import printable
from inspector.errors import UsageError
from inspector.files import MOST_IMAGE_BYTES, read_regular
from inspector.training.dataset.folders import BMP_SUFFIX, IMAGE_SUFFIXES, ImageSource, NotTaken, survey

SUFFIXES = (*IMAGE_SUFFIXES, BMP_SUFFIX)
WHITE_FROM = 128
"""A mask that has values from here on is black and white: what lies between is the noise of a JPEG or an editor."""
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
    """One product's images. `has_regions`: each connected part of a mask is a defect to be found (AUPRO's premise).

    `not_taken`: entries among the images that are not images.
    """

    name: str
    train: tuple[Path, ...]
    test: tuple[LabelledImage, ...]
    has_regions: bool = True
    not_taken: tuple[NotTaken, ...] = ()

    @property
    def has_masks(self) -> bool:
        """Whether every defective image has a mask."""
        return any(image.defect is not None for image in self.test) and not self.without_masks

    @property
    def without_masks(self) -> list[Path]:
        """The defective images that have no mask."""
        return [image.path for image in self.test if image.defect is not None and not image.masks]


def read_layout(root: Path, only: tuple[str, ...] | None = None, layout: str | None = None) -> list[LabelledProduct]:
    """The products under `root`, by name; `only` these where given. Raises UsageError naming every fault.

    `layout`: one of `LAYOUTS`, or None to recognise it.
    """
    if not root.is_dir():
        raise UsageError(f"There is no folder {printable(str(root))}.")
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


def training_images(root: Path) -> tuple[dict[str, list[ImageSource]], list[NotTaken]]:
    """Good training images by product, and what lies among them that is none. Raises UsageError.

    Empty where `root` holds no product in any layout.
    """
    reader = _reader(recognise(root))
    products = {name: reader.read(root, name, []) for name in reader.products(root)}
    images = {name: [ImageSource.of(path) for path in found.train] for name, found in products.items() if found.train}
    return images, [thing for found in products.values() for thing in found.not_taken]


def read_mask(paths: Iterable[Path], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """bool [H, W], True where any of the masks marks a defect. Raises UsageError where one can't be laid over it.

    A mask of the image's aspect in another size is brought to its size.
    """
    union = np.zeros(shape, np.bool_)
    for path in paths:
        levels, name = mask_levels(path), printable(str(path))
        if not has_aspect(levels, shape):
            size = f"{levels.shape[1]}x{levels.shape[0]}"
            raise UsageError(f"The mask {name} is {size}, its image {shape[1]}x{shape[0]}.")
        marked = (levels >= cut_of(levels)).astype(np.uint8)
        if marked.shape != shape:
            marked = np.asarray(cv2.resize(marked, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST), np.uint8)
        union |= marked.astype(np.bool_)
    return union


def mask_levels(path: Path) -> NDArray[np.uint8]:
    """uint8 [H, W], the largest of a mask's colours. Raises UsageError where it can't be read."""
    name = printable(str(path))
    try:
        payload = np.frombuffer(read_regular(path, MOST_IMAGE_BYTES, follows_links=True), np.uint8)
        found = cv2.imdecode(payload, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION) if len(payload) else None
    except OSError as error:
        raise UsageError(f"The mask {name} can't be read ({error.strerror}).") from error
    except cv2.error as error:
        raise UsageError(f"The mask {name} can't be decoded.") from error
    if found is None:
        raise UsageError(f"The mask {name} is no image.")
    levels = np.asarray(found if found.ndim == 2 else found[:, :, :3].max(axis=2))
    if levels.dtype == np.uint16:
        levels = np.where(levels > 255, levels // 256, levels)  # 65535 is white; a small number is that of a defect
    return np.asarray(levels, np.uint8)


def cut_of(levels: NDArray[np.uint8]) -> int:
    """The level from which a mask marks a defect: half of white where it has white, else 1.

    VisA's masks hold the number of the defect, which is small, and LOCO's numbers near white.
    """
    return WHITE_FROM if levels.size and int(levels.max()) >= WHITE_FROM else 1


def has_aspect(levels: NDArray[np.uint8], shape: tuple[int, int]) -> bool:
    """Whether a mask covers an image of this height and width, to a pixel of the smaller one."""
    height, width = levels.shape
    return bool(abs(height * shape[1] - width * shape[0]) <= max(min(height, shape[0]), min(width, shape[1])))


FindMasks = Callable[[Path, Path], tuple[Path, ...]]
"""From the masks' folder of a kind of defect, and the image, to the image's masks."""


@dataclass(frozen=True, slots=True)
class _Folders:
    """Layouts in which folders say what an image is."""

    good: str
    masks: FindMasks
    has_regions: bool = True

    def products(self, root: Path) -> tuple[str, ...]:
        return tuple(sorted(printable(path.name) for path in _product_folders(root)))

    def read(self, root: Path, name: str, faults: list[str]) -> LabelledProduct:
        folder = next((path for path in _product_folders(root) if printable(path.name) == name), root / name)
        not_taken: list[NotTaken] = []
        train = _images(folder / "train" / self.good, not_taken)
        if not train:
            faults.append(f"there is no image in {printable(str(folder / 'train' / self.good))}")
        elif not (folder / "test").is_dir():
            faults.append(f"there is no folder {printable(str(folder / 'test'))}")
        kinds = sorted(path for path in folder.glob("test/*") if path.is_dir() and not path.name.startswith("."))
        test = [self._labelled(folder, kind, path) for kind in kinds for path in _images(kind, not_taken)]
        not_taken += [
            NotTaken(printable(str(path)), "it lies in no folder that says what it is")
            for path in sorted(folder.glob("test/*"))
            if not path.is_dir() and not path.name.startswith(".")
        ]
        if train and (folder / "test").is_dir() and not test:
            faults.append(f"there is no image under {printable(str(folder / 'test'))}")
        return LabelledProduct(name, tuple(train), tuple(test), self.has_regions, tuple(not_taken))

    def _labelled(self, folder: Path, kind: Path, path: Path) -> LabelledImage:
        if kind.name == self.good:
            return LabelledImage(path, None)
        return LabelledImage(path, printable(kind.name), self.masks(folder / "ground_truth" / kind.name, path))


def _product_folders(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if not path.name.startswith(".") and (path / "train").is_dir()]


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
        try:
            text = read_regular(path, MOST_IMAGE_BYTES, follows_links=True).decode("utf-8-sig")
            table = csv.DictReader(io.StringIO(text, newline=""), restval="")
            if not set(table.fieldnames or ()) >= VISA_COLUMNS:
                raise UsageError(f"{path} needs the columns {', '.join(sorted(VISA_COLUMNS))}.")
            return list(table)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UsageError(f"{path} can't be read as a table in UTF-8 ({error}).") from error


def _mvtec_masks(folder: Path, path: Path) -> tuple[Path, ...]:
    return _first_of(folder, f"{path.stem}_mask")


def _btad_masks(folder: Path, path: Path) -> tuple[Path, ...]:
    return _first_of(folder, path.stem)


def _first_of(folder: Path, stem: str) -> tuple[Path, ...]:
    """The file of that stem, PNG before all others: a JPEG blurs the edge of a defect."""
    suffixes = sorted(SUFFIXES, key=lambda suffix: suffix != ".png")
    return tuple(mask for suffix in suffixes if (mask := folder / f"{stem}{suffix}").is_file())[:1]


def _loco_masks(folder: Path, path: Path) -> tuple[Path, ...]:
    return tuple(_images(folder / path.stem, []))


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


def _images(folder: Path, not_taken: list[NotTaken]) -> list[Path]:
    """The images of a folder; whatever else is there goes to `not_taken`. Raises UsageError."""
    if not folder.is_dir():
        return []
    images, others = survey(folder, SUFFIXES)
    not_taken.extend(others)
    return images
