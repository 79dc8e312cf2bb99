"""`inspector enroll` as a process that is ended from outside: it leaves no process behind that learns on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc"),
]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_enroll_that_is_ended_leaves_no_process_behind(
    tmp_path: Path, parts_folder: Path, number: signal.Signals, code: int
) -> None:
    config = tmp_path / "inspector.toml"
    config.write_text(f'[agent]\nstate_dir = "{tmp_path / "state"}"\n')
    words = ["enroll", "disc", parts_folder / "disc", "--profile", "fast", "--no-detectability", "--config", config]
    with (tmp_path / "said").open("wb") as said:
        command = [sys.executable, "-m", "inspector", *map(str, words)]
        enrolling = subprocess.Popen(command, stdout=said, stderr=said)
    try:
        until(lambda: children_of(enrolling.pid), "the work has begun in a process of its own")
        workers = children_of(enrolling.pid)
        until(lambda: all(os.getsid(each) == each for each in workers), "it has a session of its own")
        enrolling.send_signal(number)
        assert enrolling.wait(60) == code
        until(lambda: not any(state_of(each) not in ("", "Z") for each in workers), "the work has ended, too")
    finally:
        enrolling.kill()
        enrolling.wait()


def until(is_so: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def children_of(parent: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def state_of(pid: int) -> str:
    """The letter of the process's state; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
