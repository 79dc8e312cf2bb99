"""The wall clock steps by an hour and the monotonic one goes on, as when ntpd or a person sets the time."""

from __future__ import annotations

import functools
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.faults.outcome import register
from tests.faults.scene import Scene

HOUR_S = 3600
LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


def stepped(seconds: int, scene: Scene) -> None:
    """libfaketime shifts what the agent reads as wall time, by what stands in a file."""
    if not LIBRARIES:
        pytest.skip("libfaketime is not installed (Debian package: libfaketime)")
    shift = scene.folder / "shift"
    shift.write_text("+0\n")
    line = scene.line()
    line.start(
        LD_PRELOAD=str(LIBRARIES[0]),
        FAKETIME_TIMESTAMP_FILE=str(shift),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    # On a busy machine the agent owns the gate later than the first frames come, and tells nothing before.
    line.agent.until(lambda: any(_ready(scene)), 60, "the gate is ready")
    line.camera.shoot(20)
    line.settle()
    with line.shooting(100, 0.05):
        time.sleep(1)
        shift.write_text(f"{seconds:+d}\n")
        since = time.monotonic()
        line.note_recovery(since)
    line.recover(since)
    rows = scene.rows()
    last = datetime.fromisoformat(rows[-1]["received_at"])
    seen_s = (last - datetime.now(UTC)).total_seconds()
    scene.check(abs(seen_s - seconds) < HOUR_S / 2, f"the agent's clock is {seen_s:.0f} s off, not {seconds}")
    scene.check({row["cause"] for row in rows} <= {"ok", "anomaly"}, "the step made frames late or shed")
    scene.check(all(row["published"] for row in rows), "the step kept decisions from the gate")
    told = _ready(scene)
    scene.check(0 not in told[told.index(1) :], "the step made the gate not ready")
    line.finish()


def _ready(scene: Scene) -> list[int]:
    return [beat["ready"] for beat in scene.account.heard("gate1/heartbeat")]


register("wall clock steps an hour ahead", functools.partial(stepped, HOUR_S))
register("wall clock steps an hour back", functools.partial(stepped, -HOUR_S))
