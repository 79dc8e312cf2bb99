"""Work comes back in order; work that hangs keeps nobody waiting, not even the end of the process."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from inspector.stream.pipeline.workers import Workers

HUNG = """
import threading
from inspector.stream.pipeline.workers import Workers
workers = Workers(1, "decode")
begun = threading.Event()
workers.submit(lambda: (begun.set(), threading.Event().wait()))
begun.wait()
workers.shutdown(wait=True)
print("ended")
"""


def test_submit_returns_results_and_raises_what_was_raised() -> None:
    workers = Workers(2, "test")
    assert [workers.submit(pow, 2, number).result(10) for number in range(4)] == [1, 2, 4, 8]
    with pytest.raises(ZeroDivisionError):
        workers.submit(divmod, 1, 0).result(10)
    workers.shutdown()


def test_submit_cancelled_before_its_turn_is_not_run() -> None:
    workers, go, ran = Workers(1, "test"), threading.Event(), threading.Event()
    first = workers.submit(go.wait, 10)
    second = workers.submit(ran.set)
    assert second.cancel()
    go.set()
    assert first.result(10)
    workers.submit(int).result(10)
    assert not ran.is_set()
    workers.shutdown()


def test_process_with_a_hung_worker_ends() -> None:
    done = subprocess.run([sys.executable, "-c", HUNG], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "ended\n"
