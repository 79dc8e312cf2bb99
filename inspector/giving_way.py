"""Heavy work in a process of its own that a running line does not feel. Knows nothing of what the work is.

The process has one thread for its sums, the idle class of the scheduler (its reads and writes then come last as
well), and a session of its own: Linux shares cores by session first, so that niceness within the session of a terminal
moves nothing against an agent in another one. Whoever waits for the work keeps its own priority: what holds a
lock of the database is never starved.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

from inspector.errors import EnrolmentError, InspectorError

Result = TypeVar("Result")
Progress = Callable[[str, int, int], None]
Work = Callable[[Progress], Result]

LEAST_NICE = 19
AUTOGROUP = Path("/proc/self/autogroup")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


async def apart(work: Work[Result], progress: Progress) -> Result:
    """What `work` returns, done in a process that gives way. Work and result can be pickled.

    `progress` is called on another thread. Raises what the work raises, EnrolmentError where its process was ended.
    Cancelled, the process is ended.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    # As bytes: to read them loads libraries for a second, which the process does once it has given way.
    process = context.Process(target=_do, args=(pickle.dumps(work), there), daemon=True)
    with _one_thread_each():
        process.start()
    there.close()
    try:
        return await asyncio.to_thread(_heard, here, progress)
    except EOFError:
        process.join()
        raise EnrolmentError(_ended(process.exitcode)) from None
    finally:
        _end(process)
        here.close()


def give_way() -> None:
    """This process comes last from now on, as far as the system lets it; for good."""
    with contextlib.suppress(OSError):
        os.setsid()
        AUTOGROUP.write_text(str(LEAST_NICE), encoding="ascii")
    with contextlib.suppress(OSError):
        os.nice(LEAST_NICE)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _do(pickled: bytes, wire: Connection) -> None:
    """In the new process: tell ("progress", ...) and at the end ("done", result) or ("failed", error)."""
    give_way()
    work: Work[Any] = pickle.loads(pickled)
    with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
        try:
            found = work(lambda phase, done, total: wire.send(("progress", (phase, done, total))))
        except (InspectorError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            wire.send(("failed", error))
        else:
            wire.send(("done", found))


def _end(process: BaseProcess) -> None:
    """The process is gone, and whatever it started in its own session (the export of a graph)."""
    if process.is_alive() and process.pid is not None:  # not waited for yet: the number is still its own
        with contextlib.suppress(ProcessLookupError):  # it had not come to a session of its own
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
    process.join()


def _heard(wire: Connection, progress: Progress) -> Any:
    """Raises EOFError where the process ends without a word."""
    while True:
        kind, content = wire.recv()
        if kind == "progress":
            progress(*content)
        elif kind == "failed":
            raise content
        else:
            return content


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """A process started here begins with libraries that make one thread."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _ended(code: int | None) -> str:
    if code is not None and code < 0:
        return f"The enrolment was ended by signal {-code}; if memory was short, enrol fewer images or tiles at a time."
    return f"The enrolment ended with code {code} and said nothing; its traceback stands above."
