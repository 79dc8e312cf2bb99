"""What the agent's process holds, as gauges: memory, descriptors, threads, tasks. None of them may grow day by day."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

from inspector.ports import Telemetry

PERIOD_S = 5.0
_MIB = 1024 * 1024
_STATM = Path("/proc/self/statm")
_DESCRIPTORS = Path("/proc/self/fd")


async def watch_process(telemetry: Telemetry) -> None:
    """Set the gauges every `PERIOD_S`, for ever."""
    while True:
        measure_process(telemetry)
        await asyncio.sleep(PERIOD_S)


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
