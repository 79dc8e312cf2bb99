"""The state folder: its owner, whether it can be written, how full its disk and its journal are."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from inspector.cli.checks.finding import Finding, fault, ok, warning
from inspector.cli.terminal.rendering import size
from inspector.config.config import Config
from inspector.files import walk
from inspector.store.filesystem import filesystem_type, is_network_filesystem

PART: Final = "state"
LOW_DISK: Final = 1.1
"""Free space that a disk needs, as a multiple of what journal and pictures may still take."""

LEAST_FREE_BYTES: Final = 16 << 20
"""A disk with less is full for an agent: journal, database and pictures grow by more than that between two looks."""

NEARLY_FULL: Final = 0.8


def check(config: Config) -> Iterator[Finding]:
    """Folder, disk and journal."""
    folder = _folder(config.agent.state_dir)
    yield folder
    yield _filesystem(config.agent.state_dir)
    if not folder.is_ok:
        return
    yield _disk(config)
    yield _journal(config)


def _folder(folder: Path) -> Finding:
    existing = _existing(folder)
    if not existing.is_dir():
        return fault(PART, "folder", f"{existing} is no folder; correct agent.state_dir.")
    if not os.access(existing, os.W_OK | os.X_OK):
        owner = _owner(existing)
        return fault(
            PART, "folder", f"{folder} can't be written by {_me()}; it belongs to {owner}. Run as {owner}, or chown it."
        )
    if existing != folder.absolute():
        return ok(PART, "folder", f"{folder} will be made at the first start")
    return ok(PART, "folder", f"{folder} can be written, and belongs to {_owner(folder)}")


def _filesystem(folder: Path) -> Finding:
    kind = filesystem_type(_existing(folder))
    if is_network_filesystem(kind):
        why = "locks and fsync can't be relied on there, and a SQLite database can be lost"
        return fault(PART, "filesystem", f"{kind} is a network filesystem: {why}. Set agent.state_dir to a local disk.")
    return ok(PART, "filesystem", f"{kind}, local")


def _disk(config: Config) -> Finding:
    images = config.images
    bound = (config.journal.max_mib + images.max_mib + images.dead_letter_mib + images.late_mib) << 20
    folder = config.agent.state_dir
    kept = sum(_size(folder / name) for name in ("journal", "images", "dead-letters", "late"))
    free = shutil.disk_usage(_existing(folder)).free
    needed = max(0, bound - kept)
    if free < LEAST_FREE_BYTES:
        return fault(
            PART,
            "disk",
            f"{size(free)} free: soon no verdict can be journaled. Free some space on {_existing(folder)}.",
        )
    if free < needed * LOW_DISK:
        return warning(
            PART,
            "disk",
            f"{size(free)} free, but journal and pictures may take another {size(needed)}. "
            "Free some space, or lower journal.max_mib and images.max_mib.",
        )
    return ok(PART, "disk", f"{size(free)} free; journal and pictures may take another {size(needed)}")


def _journal(config: Config) -> Finding:
    folder = config.agent.state_dir / "journal"
    if not folder.is_dir():
        return ok(PART, "journal", "none yet")
    used = _size(folder)
    fill = used / (config.journal.max_mib << 20)
    said = f"{size(used)} of {config.journal.max_mib} MiB used"
    if fill >= NEARLY_FULL:
        return warning(
            PART, "journal", f"{said}: verdicts wait for the database. Bring it back, or raise journal.max_mib."
        )
    return ok(PART, "journal", f"{said}; {'an agent is running on it' if _is_held(folder) else 'no agent is running'}")


def _is_held(folder: Path) -> bool:
    """Whether an agent holds the journal's lock. The check takes a shared lock and releases it at once."""
    with contextlib.suppress(PermissionError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
    return False


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    path = path.absolute()
    while not os.access(path, os.F_OK):
        path = path.parent
    return path


def _size(folder: Path) -> int:
    """Bytes of all files in the folder and below. A running agent may delete some of them meanwhile."""
    total = 0
    with contextlib.suppress(OSError):
        for _, status in walk(folder):
            total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return total


def _owner(path: Path) -> str:
    return _user(path.stat().st_uid)


def _me() -> str:
    return _user(os.geteuid())


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
