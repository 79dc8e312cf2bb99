"""The disk of the whole state folder fills under load and is freed: journal, database and pictures at once."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from tests.faults.outcome import fault
from tests.faults.people import as_ordinary_user, small_disk
from tests.faults.scene import Line, Scene

FREE_MIB = 24
ROUNDS = 4
"""Each time the journal ends elsewhere in the disk's last block: an entry still fits there, or only a note does not."""

BURST, PAUSE_S = 200, 0.005
"""Frames of a round, faster than they are judged, so that some are at each stage of the road when the disk fills."""


@fault("State folder's disk full")
def state_disk_full(scene: Scene) -> None:
    """The default layout. The agent lives, and each frame has its row when there is room again."""
    line = scene.line()
    _on_small_disk(line)
    line.start()
    line.camera.shoot(20)
    line.settle()
    since = time.monotonic()
    for _ in range(ROUNDS):
        told = len(scene.account.heard("gate1/decision"))
        with line.shooting(BURST, PAUSE_S):
            _goes(line, told + BURST // 10)
            with _full(line.agent.state):
                _is_told(line)
            since = time.monotonic()
        line.settle()
        line.agent.until(
            lambda: scene.account.heard("gate1/heartbeat")[-1]["ready"] == 1, 60, "the gate is ready again"
        )
    line.recover(since)
    scene.check(line.agent.log.count("event=journal_full ") > 0, "nobody is told that the journal is full")
    line.finish()


def _on_small_disk(line: Line) -> None:
    """The agent's state folder is a tmpfs with its content and some free space."""
    state = line.agent.state
    content = state.with_name("content")
    state.rename(content)
    used = sum(file.stat().st_size for file in content.rglob("*") if file.is_file())
    small_disk(line.scene, state, mib=(used >> 20) + FREE_MIB)
    shutil.copytree(content, state, dirs_exist_ok=True)
    state.chmod(0o750)
    as_ordinary_user(line.agent)


@contextlib.contextmanager
def _full(folder: Path) -> Iterator[None]:
    """To the last byte, within this block. What the agent gives back meanwhile it may use."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 4096):
            pass
    yield
    filler.unlink()


def _goes(line: Line, told: int) -> None:
    decisions = line.scene.account.heard
    line.agent.until(lambda: len(decisions("gate1/decision")) >= told, 60, "frames are judged")


def _is_told(line: Line) -> None:
    """The gate is not ready, and by the agent's own word the journal is full."""
    account = line.scene.account
    line.agent.until(lambda: account.heard("gate1/heartbeat")[-1]["ready"] == 0, 60, "the gate is told it is not ready")
    line.agent.until(
        lambda: account.heard("agent/state")[-1]["fault"] == "journal_full", 60, "the state says that there is no room"
    )
