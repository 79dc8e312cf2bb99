"""What the agent's process holds, as gauges: memory, descriptors, threads, tasks. None of them may grow day by day.

The free space of its disk goes with them. The name of the processor is no gauge; it is asked for once in a run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import shutil
import threading
from pathlib import Path

from inspector.ports import Telemetry

PERIOD_S = 5.0
_MIB = 1024 * 1024
_CPUINFO = Path("/proc/cpuinfo")
_STATM = Path("/proc/self/statm")
_DESCRIPTORS = Path("/proc/self/fd")


def processor_name() -> str:
    """The model of this machine's processor, as its system names it."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(filter(None, named), platform.machine() or "unknown processor")


async def watch_process(telemetry: Telemetry, state_dir: Path) -> None:
    """Set the gauges every `PERIOD_S`, for ever."""
    while True:
        measure_process(telemetry)
        await measure_disk(telemetry, state_dir)
        await asyncio.sleep(PERIOD_S)


async def measure_disk(telemetry: Telemetry, folder: Path) -> None:
    """Set the gauges of the disk on which this folder lies. On a thread, since a disk that hangs may not answer."""
    with contextlib.suppress(OSError):
        usage = await asyncio.to_thread(shutil.disk_usage, folder)
        telemetry.gauge("state_disk_free_bytes", usage.free)
        telemetry.gauge("state_disk_bytes", usage.total)


def measure_process(telemetry: Telemetry) -> None:
    """Set the gauges once. Memory and descriptors are left out where there is no /proc. Call on the event loop."""
    telemetry.gauge("process_threads", threading.active_count())
    telemetry.gauge("process_tasks", len(asyncio.all_tasks()))
    try:
        resident_pages = int(_STATM.read_text("ascii").split()[1])
        telemetry.gauge("process_descriptors", sum(1 for _ in _DESCRIPTORS.iterdir()))
    except OSError:
        return
    telemetry.gauge("process_resident_mib", round(resident_pages * os.sysconf("SC_PAGE_SIZE") / _MIB, 1))
