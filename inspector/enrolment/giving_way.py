"""Heavy work in a process of its own that a running line does not feel. Knows nothing of what the work is.

The process has one thread for its sums, the idle class of the scheduler (its reads and writes then come last as
well), and a session of its own: Linux shares cores by session first, so that niceness within the session of a terminal
moves nothing against an agent in another one. Whoever waits for the work keeps its own priority: what holds a
lock of the database is never starved.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from inspector.errors import EnrolmentError, InspectorError

Result = TypeVar("Result")
Progress = Callable[[str, int, int], None]
Work = Callable[[Progress], Result]

WAITING = "waits: for a minute nothing was heard of it, other work takes the cores"
"""What `progress` is told as a phase where the work stands still; not an error, it goes on when there is room."""
SILENT_S = 60.0
LEAST_NICE = 19
AUTOGROUP = Path("/proc/self/autogroup")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


async def apart(work: Work[Result], progress: Progress) -> Result:
    """What `work` returns, done in a process that gives way. Work and result can be pickled.

    `progress` is called on another thread. Raises what the work raises, EnrolmentError where its process was ended.
    Cancelled, the process is ended.
    """
    order = pickle.dumps((sys.path, pickle.dumps(work)))
    here, there = Pipe(duplex=False)
    process = _start(there)
    there.close()
    try:
        return await asyncio.to_thread(_ordered, process, order, here, progress)
    except EOFError:
        raise EnrolmentError(_ended(process.wait())) from None
    finally:
        _end(process)
        here.close()


_BEGINNING = """import sys
source, wire = sys.argv[1:]
sys.path.insert(0, source)
from inspector.enrolment.giving_way import begin
begin(int(wire))
"""


def _start(wire: Connection) -> subprocess.Popen[bytes]:
    # A bare interpreter, not `multiprocessing`: that one loads the command's own modules again before anything else.
    command = [sys.executable, "-c", _BEGINNING, str(Path(__file__).parents[2]), str(wire.fileno())]
    alone = os.environ | dict.fromkeys(THREAD_VARIABLES, "1")
    return subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[wire.fileno()], env=alone)


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


def begin(wire: int) -> None:
    """In the new process: tell ("progress", ...) and at the end ("done", result) or ("failed", error).

    `wire`: the descriptor to tell it to. What to do comes on standard input.
    """
    give_way()
    with Connection(wire, readable=False) as told:
        sys.path[:], pickled = pickle.load(sys.stdin.buffer)
        # As bytes until here: to read them loads libraries for a second.
        work: Work[Any] = pickle.loads(pickled)
        with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
            try:
                found = work(lambda phase, done, total: told.send(("progress", (phase, done, total))))
            except (InspectorError, OSError) as error:
                if isinstance(error, BrokenPipeError):
                    raise
                told.send(("failed", error))
            else:
                told.send(("done", found))


def _end(process: subprocess.Popen[bytes]) -> None:
    """The process is gone, and whatever it started in its own session (the export of a graph)."""
    if process.poll() is None:  # not waited for yet: the number is still its own
        with contextlib.suppress(ProcessLookupError):  # it had not come to a session of its own
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
    process.wait()


def _ordered(process: subprocess.Popen[bytes], order: bytes, wire: Connection, progress: Progress) -> Any:
    """Raises EOFError where the process ends without a word."""
    to_it = cast(IO[bytes], process.stdin)
    with contextlib.suppress(BrokenPipeError), to_it:  # it is dead already, and `_heard` will see it
        to_it.write(order)
    return _heard(wire, progress)


def _heard(wire: Connection, progress: Progress) -> Any:
    """Raises EOFError where the process ends without a word."""
    while True:
        while not wire.poll(SILENT_S):
            progress(WAITING, 0, 0)
        kind, content = wire.recv()
        if kind == "progress":
            progress(*content)
        elif kind == "failed":
            raise content
        else:
            return content


def _ended(code: int | None) -> str:
    if code is not None and code < 0:
        return f"The enrolment was ended by signal {-code}; if memory was short, enrol fewer images or tiles at a time."
    return f"The enrolment ended with code {code} and said nothing; its traceback stands above."
