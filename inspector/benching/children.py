"""Child processes of a bench: commands of this program, and the agent. None outlives its block.

Each child leads a process group, which is ended as a whole, so that what it started ends with it. Ctrl-C in a terminal
reaches the bench alone, which then ends its children in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from connectors.mqtt.broker import dying_with_us
from inspector.errors import InspectorError
from inspector.lifetime import python_command

DRAIN_S: Final = 15.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used. `processor_s`: seconds of processor since its start. None where the system can't say."""

    processor_s: float
    resident_mib: float


def usage_of(pid: int) -> Usage | None:
    """Read from /proc; None where there is none, or where the process has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return None
    ticks = int(fields[11]) + int(fields[12])  # utime and stime; the fields begin behind the name
    return Usage(ticks / _TICKS, pages * os.sysconf("SC_PAGE_SIZE") / 2**20)


def is_alive(pid: int) -> bool:
    """Whether a process has this number, whoever owns it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.asynccontextmanager
async def child(words: Sequence[str], log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """`inspector WORDS` as a process; its output goes to `log`. On exit it is asked to end, then made to."""
    with log.open("ab") as file:
        process = await _started(words, file)
    try:
        yield process
    finally:
        await _ended(process)


async def command(words: Sequence[str], log: Path) -> None:
    """Run `inspector WORDS` to its end. Raises InspectorError with its last line where it fails."""
    async with child(words, log) as process:
        code = await process.wait()
    if code:
        raise InspectorError(f"`inspector {words[0]}` failed while the bench was prepared: {last_line(log)}")


def last_line(log: Path) -> str:
    """The last line of a log that is not empty."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it gave no reason."


async def _started(words: Sequence[str], file: IO[bytes]) -> asyncio.subprocess.Process:
    """The agent of a bench keeps the environment with its secrets: it may sign in at the person's own broker."""
    return await asyncio.create_subprocess_exec(
        *dying_with_us(),
        *python_command("-m", "inspector", *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=file,
        stderr=file,
        start_new_session=True,
    )


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Shielded from a second Ctrl-C: the process is gone when this returns or raises."""
    try:
        if process.returncode is None:
            _signal(process, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_S):
                    await process.wait()
    finally:
        _signal(process, signal.SIGKILL)  # also whatever the child has started and left behind
        await asyncio.shield(process.wait())


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
