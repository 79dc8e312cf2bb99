"""Ten times what this machine can take, for a minute. What is shed has a row that says so."""

from __future__ import annotations

import time
from collections import Counter

from tests.faults.outcome import fault
from tests.faults.scene import Scene

TIMES = 10
SECONDS = 60
MEASURED = 200


@fault("10 times the load for a minute")
def overload(scene: Scene) -> None:
    """What it can take is measured first: so many frames at once, judged as fast as it goes."""
    line = scene.line(window_ms=1000, is_persistent=False).start()
    line.camera.shoot(20)
    line.settle()
    began = time.monotonic()
    for _ in range(MEASURED // 20):
        line.camera.shoot(20)
        line.settle()
    rate = MEASURED / (time.monotonic() - began)
    offered = rate * TIMES
    began = time.monotonic()
    while (passed_s := time.monotonic() - began) < SECONDS:
        due = int(offered * (passed_s + 0.5)) - int(offered * passed_s)
        line.camera.shoot(max(1, due))
        time.sleep(max(0.0, began + passed_s + 0.5 - time.monotonic()))
    since = time.monotonic()
    line.scene.settle(line.agent, 600)
    line.recover(since)
    causes = Counter(row["cause"] for row in scene.rows())
    scene.check(causes["overload"] + causes["late"] > 0, f"nothing was shed at {offered:.0f} frames/s: {dict(causes)}")
    scene.check(set(causes) <= {"ok", "anomaly", "overload", "late"}, f"other causes than load: {dict(causes)}")
    line.finish()
