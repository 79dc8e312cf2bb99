"""Runs the plan against the clock: triggers, frames, parts at the gate, and the watch in between."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Final

from tests.plc.camera import Camera
from tests.plc.gate import Gate
from tests.plc.plan import PlannedPart

TICK_S: Final = 0.05


def run_lines(lines: Sequence[tuple[Sequence[PlannedPart], Gate, Camera]], now_s: Callable[[], float]) -> None:
    """Returns when the last part of all lines has left. Times of the plans count from the call."""
    began_s = now_s()
    order = itertools.count()
    due: list[tuple[float, int, Callable[[PlannedPart], None], PlannedPart]] = []
    for parts, gate, camera in lines:
        for part in parts:
            due.append((part.trigger_s, next(order), gate.trigger, part))
            if part.frame_s is not None:
                due.append((part.frame_s, next(order), camera.shoot, part))
            due.append((part.gate_s, next(order), gate.reach, part))
    heapq.heapify(due)
    while due:
        at_s = due[0][0] + began_s
        if at_s > now_s():
            time.sleep(max(0.0, min(TICK_S, at_s - now_s())))
            for _, gate, _ in lines:
                gate.look()
            continue
        _, _, act, part = heapq.heappop(due)
        act(part)
