"""Good images from a folder or from memory, read one at a time, named by their path.

Nothing in a folder is ignored in silence: every entry that is not a readable JPEG or PNG file is named with its reason.
Names are printable (`domain.printable`); files are opened by their real path. A link to a file is as good as the file,
because people link their data sets; a link to a pipe or device is refused like the thing itself.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from inspector.domain import printable
from inspector.errors import UsageError
from inspector.files import MOST_IMAGE_BYTES, open_regular, read_regular

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".png")
BMP = b"BM"
BMP_SUFFIX = ".bmp"
MOST_BMP_PIXELS = 100_000_000
HEAD_BYTES = 16
MOST_NAMED = 3

_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_APPLE_DOUBLE = "._"
_SYSTEM_FILES = frozenset({".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini"})
_BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIC", b"heif": "HEIC", b"avif": "AVIF", b"avis": "AVIF"}
_KINDS = {b"GIF8": "GIF", b"II*\x00": "TIFF", b"MM\x00*": "TIFF", BMP: "BMP", b"\x00\x00\x00\x0cjP": "JPEG 2000"}
_KINDS_BY_SUFFIX = {
    ".heic": "HEIC", ".heif": "HEIC", ".avif": "AVIF", ".webp": "WebP", ".gif": "GIF", ".tif": "TIFF", ".tiff": "TIFF",
    ".bmp": "BMP", ".jp2": "JPEG 2000", ".pgm": "PGM", ".ppm": "PPM", ".jxl": "JPEG XL",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ImageSource:
    """An image with a name: a file that is read when it is needed, or bytes in memory."""

    name: str
    path: Path | None = None
    payload: bytes | None = None

    @classmethod
    def of(cls, path: Path) -> ImageSource:
        """A file under its own path as its name, printable."""
        return cls(printable(str(path)), path=path)

    def read(self) -> bytes:
        """The encoded image; a BMP, which some published test sets hold, as a PNG. Raises OSError."""
        if self.payload is not None:
            return self.payload
        if self.path is None:
            raise OSError("there is neither a file nor bytes")
        payload = read_regular(self.path, MOST_IMAGE_BYTES, follows_links=True)
        return _as_png(payload) if payload.startswith(BMP) else payload


@dataclass(frozen=True, slots=True)
class NotTaken:
    """An entry of a folder that is not an image of the set. `is_litter`: an operating system left it there."""

    name: str
    reason: str
    is_litter: bool = False


@dataclass(frozen=True, slots=True)
class Offered:
    """The content of folders and files: the images in order, and every other entry with the reason against it."""

    images: list[ImageSource] = field(default_factory=list)
    not_taken: list[NotTaken] = field(default_factory=list)

    @property
    def refused(self) -> list[NotTaken]:
        """Entries that a person may have taken for images of the set."""
        return [thing for thing in self.not_taken if not thing.is_litter]


def _as_png(payload: bytes) -> bytes:
    """The same pixels as a lossless PNG. Unreadable bytes are returned unchanged; the decoder names them later."""
    if len(payload) < 26:
        return payload
    width, height = struct.unpack_from("<ii", payload, 18)
    if not 0 < abs(width) * abs(height) <= MOST_BMP_PIXELS:
        return payload
    try:
        pixels = cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # a side beyond what OpenCV reads at all
        return payload
    return payload if pixels is None else cv2.imencode(".png", pixels)[1].tobytes()


def load_folder(path: Path) -> Offered:
    """The JPEG and PNG files of a folder in file order, and every other entry by name and reason.

    Raises UsageError where the folder does not exist, is a file, can't be listed or holds no image.
    """
    name = printable(str(path))
    if not path.exists():
        raise UsageError(f"{name} is a link to nothing." if path.is_symlink() else f"There is no folder {name}.")
    if not path.is_dir():
        raise UsageError(f"{name} is a file; name the folder that holds the good images.")
    files, not_taken = survey(path)
    if not files:
        raise UsageError(f"There is no JPEG or PNG image in {name}{_hint(not_taken)}.")
    return Offered([ImageSource.of(file) for file in files], not_taken)


def load_paths(paths: Iterable[Path]) -> Offered:
    """Images of several files and folders, in the order given. Raises UsageError."""
    offered = Offered()
    for path in paths:
        if not path.exists() or path.is_dir():
            inside = load_folder(path)
            offered.images.extend(inside.images)
            offered.not_taken.extend(inside.not_taken)
        elif reason := _reason_against(path, IMAGE_SUFFIXES):
            offered.not_taken.append(NotTaken(printable(str(path)), reason))
        else:
            offered.images.append(ImageSource.of(path))
    return offered


def survey(folder: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> tuple[list[Path], list[NotTaken]]:
    """The images directly in a folder, by name, and its other entries. Raises UsageError where it can't be listed.

    An image is a regular file with one of `suffixes`, in any case, or one that begins as a JPEG or PNG does.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(f"The folder {printable(str(folder))} can't be read ({error.strerror}).") from error
    images: list[Path] = []
    not_taken: list[NotTaken] = []
    for path in entries:
        name = printable(str(path))
        if path.name.startswith(".") or path.name.lower() in _SYSTEM_FILES:
            not_taken.append(_hidden(path, name))
        elif reason := _reason_against(path, suffixes):
            not_taken.append(NotTaken(name, reason))
        else:
            images.append(path)
    return images, not_taken


def listed(things: Iterable[NotTaken], most: int = MOST_NAMED) -> str:
    """`a.tif (a TIFF image; convert it to PNG), lotB (a folder ...) and 3 more`, by file name."""
    named = [f"{Path(thing.name).name} ({thing.reason})" for thing in things]
    rest = f" and {len(named) - most} more" if len(named) > most else ""
    return ", ".join(named[:most]) + rest


def kind_of(head: bytes, suffix: str = "") -> str | None:
    """The name of an image format other than JPEG and PNG, by the file's first bytes, else by its suffix."""
    if head[4:8] == b"ftyp" and head[8:12] in _BRANDS:
        return _BRANDS[head[8:12]]
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    by_content = next((kind for start, kind in _KINDS.items() if head.startswith(start)), None)
    return by_content or _KINDS_BY_SUFFIX.get(suffix.lower())


def _hint(not_taken: list[NotTaken]) -> str:
    return f"; not taken: {listed(not_taken)}" if not_taken else ""


def _hidden(path: Path, name: str) -> NotTaken:
    """Whether this is an AppleDouble file: such files have the names of images but hold none."""
    is_picture = _begins_as_image(path)
    if path.name.lower() in _SYSTEM_FILES or (path.name.startswith(_APPLE_DOUBLE) and not is_picture):
        return NotTaken(name, "no image, an operating system left it there", is_litter=True)
    is_litter = not is_picture and path.suffix.lower() not in IMAGE_SUFFIXES
    return NotTaken(name, "hidden, its name begins with a dot", is_litter)


def _begins_as_image(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode) and _head(path).startswith(_SIGNATURES)
    except OSError:
        return False


def _reason_against(path: Path, suffixes: tuple[str, ...]) -> str | None:
    """Why this entry is not an image of a set, or None where it may be one. Decoding checks its content."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if path.is_symlink():
            return f"a link to nothing, {printable(str(path.readlink()))}"
        return f"it can't be looked at: {error.strerror}"
    if stat.S_ISDIR(mode):
        return _of_folder(path)
    if not stat.S_ISREG(mode):
        return "no file but a pipe, socket or device"
    if path.suffix.lower() in suffixes:
        return None
    try:
        head = _head(path)
    except OSError as error:
        return f"it can't be read: {error.strerror}"
    if head.startswith(_SIGNATURES):
        return None
    if kind := kind_of(head, path.suffix):
        return f"{'an' if kind == 'AVIF' else 'a'} {kind} image; convert it to PNG"
    return "neither JPEG nor PNG" if head else "empty, 0 bytes"


def _of_folder(path: Path) -> str:
    try:
        inside = sum(each.suffix.lower() in IMAGE_SUFFIXES for each in path.iterdir())
    except OSError as error:
        return f"a folder that can't be read: {error.strerror}"
    return f"a folder with {inside} images, which is not searched; name it as well if they belong here"


def _head(path: Path) -> bytes:
    with open_regular(path, follows_links=True) as file:
        return file.read(HEAD_BYTES)
