"""Processes that end together, and work that a signal ends in order."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inspector.lifetime import ORPHANED, run_to_end

ROOT = Path(__file__).parents[2]
CHILD = "import sys; from inspector.lifetime import end_with_parent; end_with_parent(int(sys.argv[1])); print('lives')"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with a parent that was killed")
def test_child_whose_parent_is_gone_before_it_begins_does_nothing() -> None:
    def child(parent: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", CHILD, str(parent)]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)

    assert child(os.getpid()).stdout == "lives\n"
    orphan = child(os.getppid())
    assert (orphan.returncode, orphan.stdout) == (ORPHANED, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_run_to_end_lets_the_work_end_its_children_after_a_signal(number: signal.Signals) -> None:
    ended = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.sleep(60)
        finally:
            ended.append(number)

    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        run_to_end(work())
    assert ended == [number]
    assert signal.getsignal(number) == before


def test_run_to_end_leaves_a_signal_ignored_that_was_ignored_as_by_nohup() -> None:
    async def work() -> str:
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0)
        return "done"

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run_to_end(work()) == "done"
    finally:
        signal.signal(signal.SIGHUP, before)
