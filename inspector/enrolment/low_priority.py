"""Runs heavy work in a child process that does not slow down a running line. It knows nothing of what the work is.

The child computes with one thread, in the idle class of the scheduler, so that its disk access comes last as well. It
leads a session of its own, because Linux shares the cores between sessions first: niceness inside a terminal's session
has no effect on an agent in another session. The process that waits for the child keeps its priority, so that a
process that gets no processor time never holds a lock of the database. The child ends with the process that waits for
it, however that one ends.
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
from inspector.lifetime import environment_without_secrets, python_command

Result = TypeVar("Result")
Progress = Callable[[str, int, int], None]
Work = Callable[[Progress], Result]

WAITING = "waits: for a minute nothing was heard of it, other work takes the cores"
"""The phase that `progress` is told while the child stands still. This is no error: the work goes on later."""
SILENT_S = 60.0
LEAST_NICE = 19
AUTOGROUP = Path("/proc/self/autogroup")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


async def run_at_low_priority(work: Work[Result], progress: Progress) -> Result:
    """The result of `work`, computed in a child process. Work and result must be picklable.

    `progress` is called on another thread. A cancelled call ends the child. Raises whatever the work raises, and
    EnrolmentError where the child was ended from outside.
    """
    order = pickle.dumps((sys.path, pickle.dumps(work)))
    ours, childs = Pipe(duplex=False)
    process = _start(childs)
    childs.close()
    try:
        return await asyncio.to_thread(_exchange, process, order, ours, progress)
    except EOFError:
        raise EnrolmentError(_cause_of_death(process.wait())) from None
    finally:
        _end(process)
        ours.close()


_CHILD = """import sys
source, wire, parent = sys.argv[1:]
sys.path.insert(0, source)
from inspector.lifetime import end_with_parent
end_with_parent(int(parent))
from inspector.enrolment.low_priority import work_in_child
work_in_child(int(wire))
"""


def _start(wire: Connection) -> subprocess.Popen[bytes]:
    # A bare interpreter in place of `multiprocessing`, which would first load the command's own modules again.
    command = python_command("-c", _CHILD, str(Path(__file__).parents[2]), str(wire.fileno()), str(os.getpid()))
    one_thread = environment_without_secrets(**dict.fromkeys(THREAD_VARIABLES, "1"))
    return subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[wire.fileno()], env=one_thread)


def lower_own_priority() -> None:
    """Give this process the lowest priority that the system allows. This can't be undone."""
    with contextlib.suppress(OSError):
        os.setsid()
        AUTOGROUP.write_text(str(LEAST_NICE), encoding="ascii")
    with contextlib.suppress(OSError):
        os.nice(LEAST_NICE)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def work_in_child(wire: int) -> None:
    """The child's main function: reads the work from standard input and does it.

    Sends ("progress", ...) to the descriptor `wire`, and at the end ("done", result) or ("failed", error).
    """
    lower_own_priority()
    with Connection(wire, readable=False) as parent:
        sys.path[:], pickled = pickle.load(sys.stdin.buffer)
        # The work stays pickled until the priority is low: unpickling it loads libraries for about a second.
        work: Work[Any] = pickle.loads(pickled)
        with contextlib.suppress(BrokenPipeError):  # the parent no longer waits
            try:
                result = work(lambda phase, done, total: parent.send(("progress", (phase, done, total))))
            except (InspectorError, OSError) as error:
                if isinstance(error, BrokenPipeError):
                    raise
                parent.send(("failed", error))
            else:
                parent.send(("done", result))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the child and every process that it started in its session (the export of a graph)."""
    if process.poll() is None:  # not waited for yet, so the process id can't belong to another process
        with contextlib.suppress(ProcessLookupError):  # the child has not yet made a session of its own
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
    process.wait()


def _exchange(process: subprocess.Popen[bytes], order: bytes, wire: Connection, progress: Progress) -> Any:
    """Sends the work and returns its result. Raises EOFError where the child ends without one."""
    child_input = cast(IO[bytes], process.stdin)
    with contextlib.suppress(BrokenPipeError), child_input:  # a dead child is noticed by `_receive`
        child_input.write(order)
    return _receive(wire, progress)


def _receive(wire: Connection, progress: Progress) -> Any:
    """The child's result; its progress is passed on. Raises EOFError where the child ends without a result."""
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


def _cause_of_death(code: int | None) -> str:
    if code is not None and code < 0:
        return f"The enrolment was ended by signal {-code}; if memory was short, enrol fewer images or tiles at a time."
    return f"The enrolment ended with code {code} and said nothing; its traceback stands above."
