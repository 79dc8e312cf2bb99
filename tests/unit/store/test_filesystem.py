"""The kind of file system below a path, from the kernel's list of mounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from inspector.store.filesystem import filesystem_type, is_network_filesystem

MOUNTS = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:45 / /var/lib/inspector rw - tmpfs tmpfs rw
40 22 0:50 / /mnt/plant\040share rw,relatime shared:2 - nfs4 server:/share rw
41 22 0:51 / /mnt/again rw - ext4 /dev/sdb1 rw
42 41 0:52 / /mnt/again rw - cifs //server/share rw
a line of another kind
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/x", "ext4"),
        ("/var/lib/inspector/inspector.db", "tmpfs"),
        ("/var/lib/inspector2/inspector.db", "ext4"),
        ("/mnt/plant share/db", "nfs4"),
        ("/mnt/again/db", "cifs"),
    ],
)
def test_filesystem_type_is_that_of_the_nearest_mount(path: str, kind: str) -> None:
    assert filesystem_type(Path(path), MOUNTS) == kind


def test_filesystem_type_of_this_machine_is_known(tmp_path: Path) -> None:
    assert filesystem_type(tmp_path / "not" / "there" / "yet") != ""


def test_is_network_filesystem_tells_them_apart() -> None:
    assert is_network_filesystem("nfs4")
    assert not is_network_filesystem("ext4")
