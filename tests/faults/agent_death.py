"""The agent is killed at each stage of the road; the hook INSPECTOR_FAULT_POINT names the stage."""

from __future__ import annotations

import functools
import signal
import time

from tests.faults.outcome import register
from tests.faults.scene import Scene

STAGES = ("admitted", "decoded", "routed", "scored", "journaled", "published", "recorded", "acknowledged")


def killed_at(stage: str, scene: Scene) -> None:
    line = scene.line().start(INSPECTOR_FAULT_POINT=f"{stage}:9")
    line.camera.shoot(60)
    line.agent.until(line.agent.has_ended, 90, f"killed at {stage}")
    code = line.agent.end(signal.SIGKILL)
    scene.check(code == -signal.SIGKILL, f"the agent ended with {code}, not by the kill at {stage}")
    since = time.monotonic()
    line.start()
    line.recover(since)
    line.finish()


for _stage in STAGES:
    register(f"agent kill -9, frame {_stage}", functools.partial(killed_at, _stage))
