"""What lies in a watched folder: which entries are frames, which are whole, reading and moving one of them.

Blocking, and without memory; `folder` calls it on threads. No link is followed anywhere: whoever may write
into the folder must not make the agent read, or write to, another place.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

DONE: Final = "done"
UNFINISHED: Final = (".part", ".partial", ".filepart", ".crdownload", ".tmp", ".swp", "~")
"""Endings of names that are still being written, or left over from it."""

SIDECARS: Final = frozenset(
    {".xml", ".txt", ".json", ".csv", ".log", ".ini", ".db", ".md", ".yaml", ".yml", ".md5", ".sha256", ".xmp", ".lnk"}
)
"""What cameras, people and systems lay beside pictures. Everything else is judged, and if only as undecodable."""

_JPEG: Final = b"\xff\xd8"
_JPEG_END: Final = b"\xff\xd9"
_JPEG_SCAN: Final = 0xDA
_JPEG_BARE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a length behind them."""

MOST_SEGMENTS: Final = 4096
"""Of a JPEG before its first scan; one with more is judged as it is, and refused."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_END: Final = b"IEND\xaeB`\x82"


@dataclass(frozen=True, slots=True)
class FrameFile:
    """One file as the folder lists it; equal as long as nobody writes to it again.

    `changed_ns` also moves with rights and links.
    """

    path: Path
    inode: int
    modified_ns: int
    size_bytes: int
    changed_ns: int = field(compare=False)

    @property
    def shown_name(self) -> str:
        """Its name as text that can be printed; bytes that are not UTF-8 and control characters as escapes."""
        return printable(self.path.name)


@dataclass(frozen=True, slots=True)
class Ignored:
    """An entry that is no frame, and why."""

    name: str
    kind: str
    is_link: bool = False
    is_folder: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """`reason` is what the system says where the folder can't be read, else None."""

    frames: frozenset[FrameFile] = frozenset()
    ignored: tuple[Ignored, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file held while nobody wrote to it. `is_whole`: a JPEG or PNG with its end."""

    content: bytes
    is_whole: bool


def list_folder(folder: Path) -> Listing:
    """All entries of the folder, none below it."""
    frames: set[FrameFile] = set()
    ignored: list[Ignored] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):  # gone between listing and looking
                    status = entry.stat(follow_symlinks=False)
                    if (why := _why_ignored(entry.name, status.st_mode)) is not None:
                        ignored.append(why)
                    elif entry.name != DONE or not stat.S_ISDIR(status.st_mode):
                        frames.add(_frame_file(Path(entry.path), status))
    except OSError as error:
        return Listing(reason=error.strerror or str(error))
    return Listing(frozenset(frames), tuple(ignored))


def printable(name: str) -> str:
    """The name without control characters and with bytes that are not UTF-8 as escapes; no two become equal."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def read(file: FrameFile, most_bytes: int) -> Reading | None:
    """Its first `most_bytes`; None where it is not, or no longer, the file that was listed. Raises OSError."""
    # Not blocking: a pipe put in its place would wait for its writer.
    descriptor = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as opened:
        before = os.fstat(descriptor)
        if _frame_file(file.path, before) != file or not stat.S_ISREG(before.st_mode):
            return None
        content = opened.read(most_bytes)
        after = os.fstat(descriptor)
    is_same = _frame_file(file.path, after) == file and after.st_ctime_ns == before.st_ctime_ns
    if not is_same or len(content) != min(before.st_size, most_bytes):
        return None
    return Reading(content, is_whole(content))


def is_whole(content: bytes) -> bool:
    """Whether a JPEG or PNG has come to its end; False for what is neither."""
    if content.startswith(_PNG):
        return _PNG_END in content
    return content.startswith(_JPEG) and _is_whole_jpeg(content)


def set_aside(file: FrameFile) -> bool:
    """Into `done` beside it, replacing nothing there; False, and left where it is, where it is not the same any more.

    Raises OSError; FileNotFoundError where the file has gone.
    """
    done = file.path.parent / DONE
    done.mkdir(exist_ok=True)
    if not stat.S_ISDIR(done.lstat().st_mode):
        raise NotADirectoryError(20, f"{DONE} is a link, which is not followed")
    if _frame_file(file.path, file.path.lstat()) != file:
        return False
    target = _free_name(file, done)
    file.path.rename(target)
    if _frame_file(file.path, target.lstat()) == file:
        return True
    if not os.path.lexists(file.path):  # overwritten between looking and moving: back to where it will be found
        target.rename(file.path)
    return False


def _why_ignored(name: str, mode: int) -> Ignored | None:
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
    return None


def _frame_file(path: Path, status: os.stat_result) -> FrameFile:
    return FrameFile(path, status.st_ino, status.st_mtime_ns, status.st_size, status.st_ctime_ns)


def _free_name(file: FrameFile, done: Path) -> Path:
    """Its own name or, where that is taken, one with its time, and with a number where that is taken too."""
    target = done / file.path.name
    number = 1
    while os.path.lexists(target):
        more = "" if number == 1 else f".{number}"
        ending = f".{file.modified_ns}{more}{file.path.suffix}"
        stem = os.fsencode(file.path.stem)[: 255 - len(os.fsencode(ending))]
        target = done / (os.fsdecode(stem) + ending)
        number += 1
    return target


def _is_whole_jpeg(content: bytes) -> bool:
    """Whether an end marker follows the first scan. A thumbnail's own stands before it, and scan data hold none."""
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
