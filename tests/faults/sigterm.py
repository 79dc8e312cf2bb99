"""SIGTERM in the middle of another fault: the agent ends by itself, and the next one finishes what it left."""

from __future__ import annotations

import signal
import time

from tests.faults.frames import POISON
from tests.faults.journal import SMALL, fill
from tests.faults.ledger import is_away, locked
from tests.faults.outcome import fault
from tests.faults.scene import Line, Scene


def _begin(line: Line, **env: str) -> Line:
    line.start(**env)
    line.camera.shoot(20)
    line.settle()
    return line


def _again(line: Line) -> None:
    since = time.monotonic()
    line.start()
    line.recover(since)
    line.finish()


@fault("SIGTERM in an MQTT black hole")
def in_black_hole(scene: Scene) -> None:
    line = _begin(scene.line(through_proxy=True))
    assert line.proxy is not None
    line.camera.shoot(40)
    line.proxy.black_hole()
    line.camera.shoot(40)
    line.finish()
    line.proxy.heal()
    _again(line)


@fault("SIGTERM while SQLite is locked", is_fast=True)
def while_locked(scene: Scene) -> None:
    line = _begin(scene.line())
    with locked(line.agent.state / "inspector.db"):
        line.camera.shoot(40)
        is_away(line)
        line.finish()
    _again(line)


@fault("SIGTERM while a decoder hangs")
def while_decoder_hangs(scene: Scene) -> None:
    line = _begin(scene.line(), INSPECTOR_FAULT_FRAME=f"hang:{POISON}")
    line.camera.shoot(1, note=POISON)
    line.camera.shoot(20)
    line.scene.check(line.agent.end(signal.SIGTERM) == 0, "the agent did not end with 0")
    _again(line)


@fault("SIGTERM under overload")
def under_overload(scene: Scene) -> None:
    line = _begin(scene.line(window_ms=1000, is_persistent=False))
    with line.shooting(500, 0.001):
        time.sleep(0.7)
        line.finish()
    _again(line)


@fault("SIGTERM while the journal is full")
def while_journal_full(scene: Scene) -> None:
    line = _begin(scene.line(more=SMALL, window_ms=2000, is_persistent=False))
    with locked(line.agent.state / "inspector.db"):
        fill(line)
        line.finish()
    _again(line)


@fault("SIGTERM while the MQTT broker is gone")
def while_broker_is_gone(scene: Scene) -> None:
    line = _begin(scene.line())
    line.camera.shoot(40)
    line.broker.stop()
    line.agent.until(lambda: "event=mqtt_broker_down " in line.agent.log, 60, "the loss is noticed")
    line.finish()
    line.broker.start()
    _again(line)
