"""Control groups that bound the memory of one process, as `MemoryMax=` of a unit does, wherever a test may make one."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path("/sys/fs/cgroup")
ROOM_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """A control group. `limit` and `usage` are the files with its bound and with what it uses now, in bytes."""

    folder: Path
    limit: Path
    usage: Path

    @property
    def runs_under(self) -> tuple[str, ...]:
        """A command before another one, which makes that one run in the group."""
        return ("sh", "-c", f'echo $$ > {self.folder / "cgroup.procs"} && exec "$@"', "sh")

    def leave_no_room(self) -> None:
        """Bound the memory to what is used now: the next thing that needs more ends the process."""
        for _ in range(200):
            with contextlib.suppress(OSError):  # version 1 refuses less than what is used, which changes all the time
                self.limit.write_text(str(int(self.usage.read_text()) + ROOM_BYTES))
                return
            time.sleep(0.01)
        raise AssertionError(f"the group {self.folder} takes no bound")


@contextlib.contextmanager
def memory_group(name: str) -> Iterator[MemoryGroup | str]:
    """A group of that name; a sentence that says why there is none where this process may not make any."""
    made = _made(name)
    try:
        yield made
    finally:
        if isinstance(made, MemoryGroup):
            with contextlib.suppress(OSError):
                made.folder.rmdir()


def _made(name: str) -> MemoryGroup | str:
    """Version 2 below this process's own group, else version 1."""
    reasons = []
    for folder, limit, usage in (
        (_own_group() / name, "memory.max", "memory.current"),
        (ROOT / "memory" / name, "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        try:
            folder.mkdir()
            group = MemoryGroup(folder, folder / limit, folder / usage)
            int(group.usage.read_text())  # raises where this is a plain folder, or memory is not counted in it
            group.limit.write_text(str(1 << 40))
            if limit == "memory.max":
                (folder / "memory.swap.max").write_text("0")
            else:
                (folder / "memory.swappiness").write_text("0")
            subprocess.run([*group.runs_under, "true"], check=True, capture_output=True, timeout=30)
        except (OSError, subprocess.CalledProcessError) as error:
            reasons.append(f"{folder}: {error}")
            with contextlib.suppress(OSError):
                folder.rmdir()
        else:
            return group
    return f"no control group bounds memory here ({'; '.join(reasons)})"


def _own_group() -> Path:
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    own = next((line.partition("::")[2] for line in lines if line.startswith("0::")), "/")
    return ROOT / own.lstrip("/")
