"""What all processes of one test session share: exported graphs, and states that take long to make.

Registered as a pytest plugin by tests/conftest.py. Under pytest-xdist each worker has session fixtures of its own;
what lies in `shared_folder` is made by the first worker that needs it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of the session, the same for all workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if hasattr(request.config, "workerinput") else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def engine_cache(shared_folder: Path) -> Path:
    """Where exported graphs go, once for all tests: an export takes ten seconds."""
    folder = shared_folder / "engines"
    folder.mkdir(exist_ok=True)
    return folder


def made_once(folder: Path, make: Callable[[], None]) -> None:
    """Call `make` in the first process that comes here; others wait until `folder` is whole. Made anew if it failed."""
    is_made = folder.with_name(f"{folder.name}.made")
    with locked(folder):
        if not is_made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make()
            is_made.touch()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process of this machine at a time works on `folder`. The lock is a file beside it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def link_graphs(source: Path, target: Path) -> None:
    """Put the exported graphs of one engine cache into another, without a second copy of their bytes."""
    target.mkdir(parents=True, exist_ok=True)
    for file in source.glob("*.*"):
        if not file.name.startswith("."):
            with contextlib.suppress(FileExistsError):
                os.link(file, target / file.name)
