"""Keeps Python's garbage collector from stopping the agent for long, and measures how long it does.

A full collection looks at every object that the process holds, and no thread runs meanwhile. What the start made
(modules, settings, products, graphs) lives as long as the agent, so it is set apart once. Later collections look at
what came since.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from inspector.ports import Telemetry

WINDOW_NS = 60_000_000_000
GAUGE = "gc_pause_ms"


class GarbageWatch:
    """The longest pause by a collection in the last one to two minutes, in milliseconds, as the gauge `gc_pause_ms`.

    `on_collection` is a callback of `gc.callbacks`. It runs on whichever thread a collection stops.
    """

    def __init__(self, telemetry: Telemetry, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._telemetry = telemetry
        self._now_ns = now_ns
        self._began_ns = 0
        self._window_ns = now_ns()
        self._longest_ms = (0.0, 0.0)  # in this minute, and in the minute before

    def on_collection(self, phase: str, _info: dict[str, int]) -> None:
        now_ns = self._now_ns()
        if phase == "start":
            self._began_ns = now_ns
            return
        current, before = self._longest_ms
        if (windows := (now_ns - self._window_ns) // WINDOW_NS) > 0:
            self._window_ns += windows * WINDOW_NS
            current, before = 0.0, current if windows == 1 else 0.0
        self._longest_ms = (max(current, (now_ns - self._began_ns) / 1e6), before)
        self._telemetry.gauge(GAUGE, round(max(self._longest_ms), 2))


def set_start_apart() -> None:
    """Exempt all objects of now from later collections. Call once, when the agent is ready.

    There is no collection before it, and the objects are not counted: either would stop the agent just when the first
    frames come.
    """
    gc.freeze()


@contextmanager
def watched(telemetry: Telemetry) -> Iterator[None]:
    """Measure collections until the end of the block."""
    watch = GarbageWatch(telemetry)
    gc.callbacks.append(watch.on_collection)
    try:
        yield
    finally:
        gc.callbacks.remove(watch.on_collection)
        gc.unfreeze()
