"""Good images from a folder or from memory, read one at a time, named by their path.

Files are recognised by their suffix only to choose what to offer; what they hold is judged by `decode`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from inspector.errors import UsageError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
BMP = b"BM"
OTHER_IMAGE_SUFFIXES = (".bmp", ".tif", ".tiff", ".webp", ".gif", ".jp2", ".pgm", ".ppm")


@dataclass(frozen=True, slots=True)
class ImageSource:
    """An image by name: a file that is read when it is needed, or bytes that are here already."""

    name: str
    path: Path | None = None
    payload: bytes | None = None

    def read(self) -> bytes:
        """The encoded image; a BMP, which some published test sets hold, as a PNG. Raises OSError."""
        if self.payload is not None:
            return self.payload
        if self.path is None:
            raise OSError("there is neither a file nor bytes")
        payload = self.path.read_bytes()
        return _as_png(payload) if payload.startswith(BMP) else payload


def _as_png(payload: bytes) -> bytes:
    """The same pixels losslessly, or the bytes as they were: what can't be read is named where it is decoded."""
    pixels = cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR)
    return payload if pixels is None else cv2.imencode(".png", pixels)[1].tobytes()


def load_folder(path: Path) -> tuple[list[ImageSource], list[str]]:
    """Its JPEG and PNG files in file order, and the names of image files of other kinds, which are not read.

    Raises UsageError where there is no such folder, it is a file, or it holds no image.
    """
    if not path.exists():
        raise UsageError(f"There is no folder {path}.")
    if not path.is_dir():
        raise UsageError(f"{path} is a file; name the folder that holds the good images.")
    files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    images = [ImageSource(str(file), path=file) for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    others = [str(file) for file in files if file.suffix.lower() in OTHER_IMAGE_SUFFIXES]
    if not images:
        hint = f"; {len(others)} files of other kinds, convert them to PNG" if others else ""
        raise UsageError(f"There is no JPEG or PNG image in {path}{hint}.")
    return images, others


def load_paths(paths: list[Path]) -> tuple[list[ImageSource], list[str]]:
    """Images of several files and folders, in the order given. Raises UsageError."""
    images: list[ImageSource] = []
    others: list[str] = []
    for path in paths:
        if path.is_file():
            if path.suffix.lower() in OTHER_IMAGE_SUFFIXES:
                others.append(str(path))
            else:
                images.append(ImageSource(str(path), path=path))
            continue
        more, unread = load_folder(path)
        images += more
        others += unread
    return images, others
