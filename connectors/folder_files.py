"""Lists a watched folder, separates frames from other entries, and reads and moves single files.

The functions block and keep no state; `folder` calls them on threads. No link is followed, and no file read that has
another name elsewhere: a person who may write into the folder must not be able to make the agent read from, or write
to, another place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from inspector.files import FOLDER_MODE, NotOpened, give_mode, open_regular

DONE: Final = "done"
UNFINISHED: Final = (".part", ".partial", ".filepart", ".crdownload", ".tmp", ".swp", "~")
"""Endings of names that are still being written, or left over from it."""

SIDECARS: Final = frozenset(
    {".xml", ".txt", ".json", ".csv", ".log", ".ini", ".db", ".md", ".yaml", ".yml", ".md5", ".sha256", ".xmp", ".lnk"}
)
"""Endings of files that cameras, people and systems put beside pictures. Other files are judged as frames."""

_JPEG: Final = b"\xff\xd8"
_JPEG_END: Final = b"\xff\xd9"
_JPEG_SCAN: Final = 0xDA
_JPEG_BARE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
"""JPEG markers that no length field follows."""

MOST_SEGMENTS: Final = 4096
"""Most segments of a JPEG before its first scan. A file with more segments counts as incomplete."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_END: Final = b"IEND\xaeB`\x82"


@dataclass(frozen=True, slots=True)
class FrameFile:
    """One file as the folder lists it. Two listings of it are equal as long as nobody writes to it.

    `changed_ns` also changes with the file's permissions and links.
    """

    path: Path
    inode: int
    modified_ns: int
    size_bytes: int
    changed_ns: int = field(compare=False)

    @property
    def shown_name(self) -> str:
        """The name as printable text, with escapes for control characters and bytes that are not UTF-8."""
        return printable(self.path.name)


@dataclass(frozen=True, slots=True)
class Ignored:
    """An entry that is no frame, and its kind."""

    name: str
    kind: str
    is_link: bool = False
    is_folder: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """The content of a folder. `reason` is the system's message if the folder can't be read, else None."""

    frames: frozenset[FrameFile] = frozenset()
    ignored: tuple[Ignored, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """The content of a file that nobody wrote to meanwhile. `is_whole`: a JPEG or PNG with its end marker."""

    content: bytes
    is_whole: bool


def list_folder(folder: Path) -> Listing:
    """All entries of the folder itself; subfolders are not entered."""
    frames: set[FrameFile] = set()
    ignored: list[Ignored] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):  # gone between listing and looking
                    status = entry.stat(follow_symlinks=False)
                    if (why := _why_ignored(entry.name, status)) is not None:
                        ignored.append(why)
                    elif entry.name != DONE or not stat.S_ISDIR(status.st_mode):
                        frames.add(_frame_file(Path(entry.path), status))
    except OSError as error:
        return Listing(reason=error.strerror or str(error))
    return Listing(frozenset(frames), tuple(ignored))


def printable(name: str) -> str:
    """The name with escapes for control characters and bytes that are not UTF-8. Different names stay different."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def read(file: FrameFile, most_bytes: int) -> Reading | None:
    """The first `most_bytes` of the file; None if the path no longer holds the file that was listed. Raises OSError."""
    try:
        opened = open_regular(file.path, trusts_folder=True)
    except NotOpened:  # a link, a pipe or a device has taken the file's place
        return None
    with opened:
        descriptor = opened.fileno()
        before = os.fstat(descriptor)
        if _frame_file(file.path, before) != file or before.st_nlink > 1:
            return None
        content = opened.read(most_bytes)
        after = os.fstat(descriptor)
    is_same = _frame_file(file.path, after) == file and after.st_ctime_ns == before.st_ctime_ns
    if not is_same or len(content) != min(before.st_size, most_bytes):
        return None
    return Reading(content, is_whole(content))


def is_whole(content: bytes) -> bool:
    """Whether the bytes are a JPEG or PNG with its end marker. False for any other format."""
    if content.startswith(_PNG):
        return _PNG_END in content
    return content.startswith(_JPEG) and _is_whole_jpeg(content)


def set_aside(file: FrameFile) -> bool:
    """Move the file to `done` beside it, without replacing a file. False if the file was overwritten: then it stays.

    Raises OSError; FileNotFoundError if the file is gone.
    """
    with _done_beside(file.path) as done:
        if _frame_file(file.path, file.path.lstat()) != file:
            return False
        name = _free_name(file, done)
        os.rename(file.path, name, dst_dir_fd=done)
        if _frame_file(file.path, os.stat(name, dir_fd=done, follow_symlinks=False)) == file:
            return True
        if not os.path.lexists(file.path):  # overwritten between the check and the move: move it back
            os.rename(name, file.path, src_dir_fd=done)
        return False


@contextlib.contextmanager
def _done_beside(path: Path) -> Iterator[int]:
    """A descriptor of `done`: the folder that is looked at is the one that files are moved to."""
    done, is_new = path.parent / DONE, False
    with contextlib.suppress(FileExistsError):
        done.mkdir(FOLDER_MODE)
        is_new = True
    try:
        folder = os.open(done, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except NotADirectoryError:
        raise NotADirectoryError(errno.ENOTDIR, f"{DONE} is a link, which is not followed") from None
    try:
        if is_new:
            give_mode(folder, FOLDER_MODE)
        yield folder
    finally:
        os.close(folder)


def _why_ignored(name: str, status: os.stat_result) -> Ignored | None:
    mode = status.st_mode
    shown = printable(name)
    suffix = Path(name).suffix.lower()
    if stat.S_ISLNK(mode):
        return Ignored(shown, f"the link {shown}", is_link=True)
    if stat.S_ISDIR(mode):
        is_ours = name == DONE
        return None if is_ours else Ignored(shown, "folders", is_folder=True)
    if not stat.S_ISREG(mode):
        return Ignored(shown, "pipes, sockets and devices")
    if name.startswith("."):
        return Ignored(shown, "hidden files")
    if name.startswith("~") or name.lower().endswith(UNFINISHED):
        return Ignored(shown, "files whose name says that they are still being written")
    if suffix in SIDECARS:
        return Ignored(shown, f"files that end in {suffix}")
    if status.st_nlink > 1:
        return Ignored(shown, f"the hard link {shown}", is_link=True)
    return None


def _frame_file(path: Path, status: os.stat_result) -> FrameFile:
    return FrameFile(path, status.st_ino, status.st_mtime_ns, status.st_size, status.st_ctime_ns)


def _free_name(file: FrameFile, done: int) -> str:
    """The file's own name; if it is taken, the name with its time; if that is taken too, the name with a number."""
    name = file.path.name
    number = 1
    while _is_taken(name, done):
        more = "" if number == 1 else f".{number}"
        ending = f".{file.modified_ns}{more}{file.path.suffix}"
        stem = os.fsencode(file.path.stem)[: 255 - len(os.fsencode(ending))]
        name = os.fsdecode(stem) + ending
        number += 1
    return name


def _is_taken(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _is_whole_jpeg(content: bytes) -> bool:
    """Whether an end marker follows the first scan. A thumbnail's end marker lies before it; scan data have none."""
    at = len(_JPEG)
    for _ in range(MOST_SEGMENTS):
        if content[at : at + 1] != b"\xff" or at + 4 > len(content):
            return False
        marker = content[at + 1]
        if marker == 0xFF:  # filling
            at += 1
        elif marker in _JPEG_BARE:
            at += 2
        elif marker == _JPEG_SCAN:
            return content.find(_JPEG_END, at) >= 0
        else:
            at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return False
