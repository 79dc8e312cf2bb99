"""Lock files for `pip install --require-hashes`: every distribution with its version and the SHA-256 of its file.

No line names a host, a path or an index, so that a lock says the same wherever the files come from.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename

HEAD: Final = """\
# What an agent needs, with the SHA-256 of each file: Linux, x86-64, Python 3.11. Its use: docs/installation.md.
# Written by `python -m tests.audit lock`; don't edit it by hand.
"""
CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, order=True)
class Locked:
    """One file that may be installed."""

    name: str
    version: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


def resolved(project: Path, constraints: Path) -> list[Locked]:
    """What pip would install for the project, from the index that pip is set up with. The project is left out."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet",
                   "--disable-pip-version-check", "--only-binary", ":all:", "--report", str(report),
                   "-c", str(constraints.resolve()), str(project.resolve())]  # fmt: skip
        subprocess.run(command, check=True, cwd=folder)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    return sorted(
        Locked(
            canonicalize_name(each["metadata"]["name"]),
            each["metadata"]["version"],
            each["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for each in found
        if not each["is_direct"]
    )


def of_folder(folder: Path) -> list[Locked]:
    """Every file of a folder of wheels, as it lies there. Raises ValueError for a file that is no distribution."""
    found = []
    for file in sorted(folder.iterdir()):
        if file.suffix == ".whl":
            name, version = parse_wheel_filename(file.name)[:2]
        elif file.name.endswith(".tar.gz"):
            name, version = parse_sdist_filename(file.name)
        else:
            continue
        found.append(Locked(name, str(version), _digest(file)))
    return found


def text_of(locked: Iterable[Locked]) -> str:
    return HEAD + "".join(f"{each}\n" for each in locked)


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
