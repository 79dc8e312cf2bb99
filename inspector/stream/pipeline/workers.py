"""Threads for work that may never come back. The process ends without waiting for them.

The standard library's pool joins its threads when the interpreter ends, so that one hung decoder would
keep an agent that has drained from ever stopping.
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
"""Longer than a batch on a slow machine; with the drain's time well within systemd's TimeoutStopSec."""

_Work = Callable[[], None]


class Workers(Executor):
    """`count` threads named after `name`; work is begun in the order it was submitted."""

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
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever awaits the future
                future.set_exception(error)
            else:
                future.set_result(result)

        self._work.put(work)
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:
        """Threads end after what was submitted. With `wait` for LEAVE_S at most: a hung one is left to itself.

        Not to wait is for a pool that is replaced. At the end of the process, a thread that comes back from
        compiled code while the interpreter is going down takes the whole process with it.
        """
        del cancel_futures  # what is cancelled is cancelled by those who await it
        for _ in self._threads:
            self._work.put(None)
        leave_at = time.monotonic() + LEAVE_S
        for thread in self._threads if wait else []:
            thread.join(max(0.0, leave_at - time.monotonic()))

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()
