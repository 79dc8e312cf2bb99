"""Folders of a bounded size, with file names made from names that cameras send.

Such names become file names through `safe_name` only. A file appears whole or not at all. At the bound the oldest
files are removed. All functions block: call them on worker threads.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from inspector import files
from inspector.config.section import NAME_PATTERN
from inspector.domain import Verdict
from inspector.errors import StateUnusable

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]+")

MOST_RECENT: Final = 4096
"""Results with files that are remembered until their rows are surely there."""

MOST_FILE_BYTES: Final = (1024 + 64) * 1024 * 1024
"""Of a kept file: the highest limit that a camera's frames may have, and a record."""


def safe_name(name: str) -> str:
    """The name itself if it is allowed for a camera or product; else another unique name without a path."""
    if re.fullmatch(NAME_PATTERN, name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    readable = _UNSAFE.sub("_", name)[:40].lstrip("._-")
    return f"{readable or 'unnamed'}-{digest}"


def write_whole(path: Path, content: bytes, *, durable: bool = False, is_shared: bool = False) -> None:
    """Write the whole file, or leave it as it was. `durable`: the file survives power loss. Raises StateUnusable.

    `is_shared`: as for `files.make_folder`, which makes the folder if it is missing.
    """
    with translated(path):
        try:
            files.write_whole(path, content, durable=durable)
        except FileNotFoundError:
            files.make_folder(path.parent, is_shared=is_shared)
            files.write_whole(path, content, durable=durable)


def read_kept(path: Path) -> bytes:
    """The content of a kept file. Raises OSError for anything but a regular file, such as a link."""
    return files.read_regular(path, MOST_FILE_BYTES)


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raises StateUnusable, in one sentence, for any error of the file system."""
    try:
        yield
    except OSError as error:
        raise StateUnusable(
            f"{path} can't be written ({error.strerror}); check the folder's owner and the space on its disk."
        ) from error


class Held:
    """Results that a hold keeps. Their files stay, even beyond a folder's bound. Safe on any thread.

    With `is_known` False every result counts as held until the first call of `found`, so that no held file is removed
    before the holds have been read.
    """

    def __init__(self, *, is_known: bool = True) -> None:
        self._is_known = is_known
        self._covers: Callable[[Verdict], bool] = lambda _: False
        self._found: frozenset[str] = frozenset()
        self._noted: set[str] = set()
        self._recent: deque[Verdict] = deque(maxlen=MOST_RECENT)
        self._lock = threading.Lock()

    def __contains__(self, result_id: str) -> bool:
        return not self._is_known or result_id in self._found or result_id in self._noted

    def renew(self, covers: Callable[[Verdict], bool], *, is_any: bool) -> None:
        """Replace the holds; `covers` returns whether they keep a result. Noted results stay until no hold is left.

        Results whose files were written a moment ago count too, because their rows may not be in the database yet.
        """
        with self._lock:
            self._covers = covers
            self._noted = self._noted if is_any else set()
            self._noted |= {verdict.result_id for verdict in self._recent if covers(verdict)}

    def found(self, result_ids: Iterable[str]) -> None:
        """Set the held results among the results that have rows and files."""
        self._found = frozenset(result_ids)
        self._is_known = True

    def note(self, verdict: Verdict) -> None:
        """Note a result before its files are written, if a hold keeps it. The result may have no row yet."""
        with self._lock:
            self._recent.append(verdict)
            if self._covers(verdict):
                self._noted.add(verdict.result_id)


class BoundedFolder:
    """Counts the files below `folder` and removes the oldest beyond `max_bytes`. For one thread at a time.

    Files below the folder `spare` are not counted. Held files are counted and never removed, so the folder outgrows
    its bound if nearly all of its files are held. Raises StateUnusable if the folder can't be read.
    """

    def __init__(self, folder: Path, max_bytes: int, spare: Path | None = None, held: Held | None = None) -> None:
        self.folder = folder
        self._held = held or Held()
        self._max_bytes = max_bytes
        self._sizes: dict[Path, int] = {}  # oldest first
        with translated(folder):
            files.make_folder(folder)
            remove_partial(folder)
            found = sorted(
                ((status.st_mtime_ns, path, status.st_size) for path, status in files_of(folder, spare)),
                key=lambda item: item[:2],
            )
        for _, path, size_bytes in found:
            self._sizes[path] = size_bytes
        self.size_bytes = sum(self._sizes.values())

    def add(self, path: Path, content: bytes, *, durable: bool = False) -> None:
        """Write the file, then remove older ones of other results beyond the bound. Raises StateUnusable."""
        write_whole(path, content, durable=durable)
        self.size_bytes += len(content) - self._sizes.pop(path, 0)
        self._sizes[path] = len(content)
        if self.size_bytes > self._max_bytes:
            own = path.parent / result_of(path)
            others = [
                other
                for other in self._sizes
                if other.parent / result_of(other) != own and result_of(other) not in self._held
            ]
            for oldest in others:
                if self.size_bytes <= self._max_bytes:
                    break
                self._remove(oldest)

    def _remove(self, path: Path) -> None:
        with translated(path):
            files.remove(path)
        if files.remove_empty_folder(path.parent):
            files.remove_empty_folder(path.parent.parent)
        self.size_bytes -= self._sizes.pop(path)


def result_of(path: Path) -> str:
    """The result id in the name of a picture's or dead letter's file."""
    return path.name.partition(".")[0]


def files_of(folder: Path, spare: Path | None) -> Iterator[tuple[Path, os.stat_result]]:
    """Every whole file below the folder, except below its folder `spare`. A file may vanish meanwhile.

    Raises OSError for a folder behind a link of another user.
    """
    for path, status in files.walk(folder, spare=spare):
        if stat.S_ISREG(status.st_mode) and not path.name.endswith(files.PARTIAL):
            yield path, status


def kept_files(folder: Path, name: str, depth: int = 1) -> list[Path]:
    """Files `name.*` in the folder, or that many folders deep less one. Empty behind a link of another user."""
    with contextlib.suppress(OSError):
        return sorted(
            path
            for path, status in (files.entries(folder) if depth == 1 else files.walk(folder))
            if stat.S_ISREG(status.st_mode)
            and path.name.startswith(f"{name}.")
            and len(path.relative_to(folder).parts) == depth
        )
    return []


def remove_partial(folder: Path) -> None:
    """Remove half-written files of a killed process. Only the process that writes the folder may call this."""
    for path in [path for path, _ in files.walk(folder) if path.name.endswith(files.PARTIAL)]:
        files.remove(path)
