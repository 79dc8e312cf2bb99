"""Folders that other people's names end up in, and that never outgrow their bound.

Names from cameras become file names only through `safe_name`; files appear whole or not at all; the
oldest go when the bound is reached. Blocking: for worker threads.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from inspector.config.sections import NAME_PATTERN
from inspector.domain import Verdict
from inspector.errors import StateUnusable

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]+")
_PARTIAL: Final = ".partial"


def safe_name(name: str) -> str:
    """The name itself where it may name a camera or product, else one that is as unique and stays in its folder."""
    if re.fullmatch(NAME_PATTERN, name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    readable = _UNSAFE.sub("_", name)[:40].lstrip("._-")
    return f"{readable or 'unnamed'}-{digest}"


def write_whole(path: Path, content: bytes, *, durable: bool = False) -> None:
    """The file has exactly this content, or is as it was; `durable`: also after power loss. Raises StateUnusable."""
    partial = path.with_name(path.name + _PARTIAL)
    with translated(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        partial.replace(path)
        if durable:
            _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """StateUnusable for whatever the file system says, in one sentence."""
    try:
        yield
    except OSError as error:
        raise StateUnusable(
            f"{path} can't be written ({error.strerror}); check the folder's owner and the space on its disk."
        ) from error


class Held:
    """Results that a hold keeps: their files stay, also where a folder has passed its bound. Any thread may ask.

    With `is_known` False every result counts as held until `found` has said for the first time which are: what a
    hold keeps must not go while nobody has looked yet.
    """

    def __init__(self, *, is_known: bool = True) -> None:
        self._is_known = is_known
        self._covers: Callable[[Verdict], bool] = lambda _: False
        self._found: frozenset[str] = frozenset()
        self._noted: set[str] = set()

    def __contains__(self, result_id: str) -> bool:
        return not self._is_known or result_id in self._found or result_id in self._noted

    def renew(self, covers: Callable[[Verdict], bool], *, is_any: bool) -> None:
        """The holds have changed: `covers` says it of results to come. Those noted stay until there is no hold."""
        self._covers = covers
        if not is_any:
            self._noted = set()

    def found(self, result_ids: Iterable[str]) -> None:
        """Which of the results that have rows and files are held."""
        self._found = frozenset(result_ids)
        self._is_known = True

    def note(self, verdict: Verdict) -> None:
        """Before the result's files are written: the holds of now count for it at once, it may have no row yet."""
        if self._covers(verdict):
            self._noted.add(verdict.result_id)


class BoundedFolder:
    """Counts the files below `folder` and removes the oldest beyond `max_bytes`. One thread at a time.

    What lies below `spare` (a folder of its own) is not counted; what is `held` is counted and never removed, so
    that the folder outgrows its bound where it holds hardly anything else. Raises StateUnusable where it can't be
    read.
    """

    def __init__(self, folder: Path, max_bytes: int, spare: Path | None = None, held: Held | None = None) -> None:
        self.folder = folder
        self._held = held or Held()
        self._max_bytes = max_bytes
        self._sizes: dict[Path, int] = {}  # oldest first
        with translated(folder):
            folder.mkdir(parents=True, exist_ok=True)
            _remove_partial(folder)
            found = sorted(
                ((status.st_mtime_ns, path, status.st_size) for path, status in files_of(folder, spare)),
                key=lambda item: item[:2],
            )
        for _, path, size_bytes in found:
            self._sizes[path] = size_bytes
        self.size_bytes = sum(self._sizes.values())

    def add(self, path: Path, content: bytes, *, durable: bool = False) -> None:
        """Writes the file, then removes the oldest others while the bound is passed. Raises StateUnusable."""
        write_whole(path, content, durable=durable)
        self.size_bytes += len(content) - self._sizes.pop(path, 0)
        self._sizes[path] = len(content)
        if self.size_bytes > self._max_bytes:
            for oldest in [each for each in self._sizes if each != path and result_of(each) not in self._held]:
                if self.size_bytes <= self._max_bytes:
                    break
                self._remove(oldest)

    def _remove(self, path: Path) -> None:
        with translated(path):
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty yet
                path.parent.rmdir()
                path.parent.parent.rmdir()
        self.size_bytes -= self._sizes.pop(path)


def result_of(path: Path) -> str:
    """The result id that a file of a picture or dead letter is named by."""
    return path.name.partition(".")[0]


def files_of(folder: Path, spare: Path | None) -> Iterator[tuple[Path, os.stat_result]]:
    """Every whole file below the folder, but for those below `spare`. A file may go while we look."""
    for path in folder.rglob("*"):
        if (spare is not None and spare in path.parents) or path.name.endswith(_PARTIAL):
            continue
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and not path.is_symlink():
                yield path, path.stat()


def _remove_partial(folder: Path) -> None:
    """What a process that was killed left half written. Only for the one that writes the folder."""
    for path in folder.rglob(f"*{_PARTIAL}"):
        path.unlink(missing_ok=True)
