"""Measures how long each callback of an event loop holds it, for a process that has this folder on its path.

The time is the loop thread's own processor time: another process that takes the core does not count. At its end the
process writes to the file of `LOOP_REPORT`: how many callbacks ran, and those that took more than `BOUND_MS`.
"""

from __future__ import annotations

import asyncio
import asyncio.events
import atexit
import json
import os
import time
from pathlib import Path
from typing import Any

BOUND_MS = 5.0

_began = time.monotonic()
_found: dict[str, Any] = {"callbacks": 0, "long": []}
_run = asyncio.events.Handle._run


def _measured(self: asyncio.events.Handle) -> None:
    before = time.thread_time()
    _run(self)
    took_ms = (time.thread_time() - before) * 1e3
    _found["callbacks"] += 1
    if took_ms > BOUND_MS:
        task = getattr(self._callback, "__self__", None)
        name = task.get_coro().__qualname__ if isinstance(task, asyncio.Task) else repr(self._callback)[:120]
        _found["long"].append({"at_s": time.monotonic() - _began, "ms": took_ms, "what": name})


if report := os.environ.get("LOOP_REPORT"):
    asyncio.events.Handle._run = _measured  # type: ignore[method-assign]  # to measure every callback
    atexit.register(lambda: Path(report).write_text(json.dumps(_found), "utf-8"))
