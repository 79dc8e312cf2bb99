"""Processes that end together: a child with the process that started it, and a command's children with the command.

A process that is killed can end nothing itself, so its child asks the kernel to be killed with it. A process that is
asked to end is given the time to end its children. A child is told no secret of its parent's unless it needs one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, Final, TypeVar

Result = TypeVar("Result")

ORPHANED: Final = 1
"""Exit code of a child whose parent was gone before the child began."""

SAME_WISH_S: Final = 1.0
"""Signals that come within this time say the same; a second one would end the ending in the middle."""

_SECRETS: Final = ("INSPECTOR_SECRET_", "CREDENTIALS_DIRECTORY", "PGPASSWORD")
"""Beginnings of the names of variables that hold a secret, or name the folder of them."""

_SET_PARENT_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>


def python_command(*words: str) -> list[str]:
    """The command of a child with this interpreter. Modules are never taken from the folder that it runs in.

    Others may write into that folder: a file `json.py` there would run as whoever works there, up to root.
    """
    return [sys.executable, "-P", *words]


def environment_without_secrets(**more: str) -> dict[str, str]:
    """This process's environment and `more`, for a child that signs in nowhere.

    A secret in a child's environment can be read by whatever the child loads or starts, and outlives a change of it.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith(_SECRETS)} | more


def end_with_parent(parent: int) -> None:
    """This process is killed when its parent ends, in whatever way; if the parent has ended already, it exits.

    `parent`: the parent's process id, as the parent knows it. Call it first in the child; processes that the child
    starts need a call of their own. The kernel watches the thread that started the child, so that thread must live as
    long as the child shall. Linux only; elsewhere nothing happens.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)
    # The parent may have ended before the kernel was asked; then another process is the parent, and no signal comes.
    if os.getppid() != parent:
        os._exit(ORPHANED)


class Children:
    """Processes that threads of this one wait for. `end` ends them, so that a process which shall end need not wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()

    def run(self, command: Sequence[str], *, timeout_s: float) -> subprocess.CompletedProcess[str]:
        """Run a child that is told no secret until it ends, and keep its output.

        Raises subprocess.TimeoutExpired, after it was killed.
        """
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment_without_secrets()
        ) as process:
            with self._lock:
                self._running.add(process)
            try:
                said, complained = process.communicate(timeout=timeout_s)
            except BaseException:  # whatever ends the wait, also an interrupt, the child must not outlive it
                process.kill()
                raise
            finally:
                with self._lock:
                    self._running.discard(process)
        return subprocess.CompletedProcess(process.args, process.returncode, said, complained)

    def end(self) -> None:
        """Ask each child that runs now to end."""
        with self._lock:
            for process in self._running:
                process.terminate()


def run_to_end(work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`. SIGINT, SIGTERM and SIGHUP cancel it, so that it can end its children.

    A signal that the process was started to ignore, as by `nohup`, stays ignored. One that comes with another, as
    `timeout` sends two, is the same wish; a later one cancels the ending too. Raises KeyboardInterrupt after a signal,
    when the work has ended.
    """
    return asyncio.run(_until_signalled(work))


async def _until_signalled(work: Coroutine[Any, Any, Result]) -> Result:
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(work)
    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    signals = [number for number in wanted if signal.getsignal(number) is not signal.SIG_IGN]
    last_s = -SAME_WISH_S

    def end() -> None:
        nonlocal last_s
        if loop.time() - last_s >= SAME_WISH_S:
            last_s = loop.time()
            task.cancel()

    for number in signals:
        loop.add_signal_handler(number, end)
    try:
        return await task
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        for number in signals:
            with contextlib.suppress(ValueError):
                loop.remove_signal_handler(number)
