"""Finds the type of a path's file system. SQLite's WAL needs shared memory, which network file systems lack."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_MOUNTS: Final = Path("/proc/self/mountinfo")
_NETWORK: Final = frozenset(
    {
        "9p",
        "afs",
        "ceph",
        "cifs",
        "fuse.glusterfs",
        "fuse.sshfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
    }
)


def filesystem_type(path: Path, mounts: str | None = None) -> str:
    """The type of the file system at `path`, which need not exist yet; "unknown" if the system doesn't list it.

    `mounts`: text of /proc/self/mountinfo, for tests.
    """
    if mounts is None:
        if not _MOUNTS.exists():
            return "unknown"
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="replace")
        path = path.resolve()
    best, kind = -1, "unknown"
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split()
        if len(fields) < 5 or not right:
            continue
        mount_point = Path(fields[4].replace(r"\040", " "))
        # The last of several equal mount points counts, because it is mounted over the others.
        if (path == mount_point or mount_point in path.parents) and len(mount_point.parts) >= best:
            best, kind = len(mount_point.parts), right.split()[0]
    return kind


def is_network_filesystem(kind: str) -> bool:
    """Whether a type named by `filesystem_type` lies on another machine."""
    return kind in _NETWORK
