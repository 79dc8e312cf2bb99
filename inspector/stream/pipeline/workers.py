"""Threads for work that may hang. The process ends without waiting for them.

The standard library's pool joins its threads when the interpreter ends, so one hung decoder would keep a
drained agent from stopping.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

LEAVE_S = 3.0
"""Longest wait of `shutdown`: longer than a batch on a slow machine. Together with the drain it fits TimeoutStopSec."""

_Work = Callable[[], None]


class Workers(Executor):
    """A pool of `count` threads named after `name`. Work begins in the order in which it was submitted."""

    def __init__(self, count: int, name: str) -> None:
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"{name} {number}", daemon=True) for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - raised to whoever awaits the future
                future.set_exception(error)
            else:
                future.set_result(result)

        self._work.put(work)
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:
        """Let the threads end after the work that was submitted; `wait` for them, but at most LEAVE_S.

        A pool that is replaced needs no wait. At the end of the process the wait is needed: a thread that returns
        from compiled code while the interpreter shuts down crashes the process.
        """
        del cancel_futures  # a task that awaits a future cancels it itself
        for _ in self._threads:
            self._work.put(None)
        leave_at = time.monotonic() + LEAVE_S
        for thread in self._threads if wait else []:
            thread.join(max(0.0, leave_at - time.monotonic()))

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()
