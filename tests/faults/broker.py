"""The MQTT broker dies, is restarted, stops answering, or is cut off."""

from __future__ import annotations

import time

from tests.faults.outcome import fault
from tests.faults.scene import Line, Scene

BLACK_HOLE_S = 30.0
CLIENTS = 3
"""Of the agent's: records, gates, and the one of the camera."""


def _begin(scene: Scene, *, through_proxy: bool = False) -> Line:
    """A running line that has seen 30 frames."""
    line = scene.line(through_proxy=through_proxy).start()
    line.camera.shoot(30)
    line.settle()
    return line


def _is_told(line: Line, kind: str, times: int = 1) -> None:
    line.agent.until(lambda: line.agent.log.count(f"event={kind} ") >= times, 60, f"{kind} is told")


def _end(line: Line, since: float) -> None:
    line.recover(since)
    _is_told(line, "mqtt_broker_up", 2)
    line.scene.check_edges(line.agent, mqtt_broker_down=1, mqtt_broker_up=2)
    line.finish()


def _end_one_by_one(line: Line, since: float) -> None:
    """Each client may find its own connection dead when the others are back: one edge each way for each, at most."""
    line.recover(since)
    _is_told(line, "mqtt_broker_up", 2)
    line.finish()
    down, up = (line.agent.log.count(f"event=mqtt_broker_{edge} ") for edge in ("down", "up"))
    line.scene.check(1 <= down <= CLIENTS, f"{down} lines of mqtt_broker_down for {CLIENTS} clients")
    line.scene.check(up == down + 1, f"{up} lines of mqtt_broker_up after {down} of mqtt_broker_down")


@fault("MQTT broker kill -9", is_fast=True)
def broker_killed(scene: Scene) -> None:
    line = _begin(scene)
    line.camera.shoot(30)
    time.sleep(1.5)  # mosquitto saves within its interval of 1 s, and says to nobody that it has
    line.broker.kill()
    _is_told(line, "mqtt_broker_down")
    line.broker.start()
    _end(line, time.monotonic())


@fault("MQTT broker restarted while frames come")
def broker_restarted(scene: Scene) -> None:
    line = _begin(scene)
    with line.shooting(100, 0.05):
        time.sleep(1)
        line.broker.stop()
        _is_told(line, "mqtt_broker_down")
        line.broker.start()
        since = time.monotonic()
        line.note_recovery(since)
    _end(line, since)


@fault("MQTT black hole for 30 s while frames come")
def black_hole(scene: Scene) -> None:
    line = _begin(scene, through_proxy=True)
    assert line.proxy is not None
    with line.shooting(350, 0.1):
        line.proxy.black_hole()
        time.sleep(BLACK_HOLE_S)
        line.proxy.heal()
        since = time.monotonic()
        line.note_recovery(since)
    _end(line, since)


@fault("MQTT connections half-open while frames come")
def half_open(scene: Scene) -> None:
    line = _begin(scene, through_proxy=True)
    assert line.proxy is not None
    with line.shooting(100, 0.05):
        line.proxy.half_open()
        since = time.monotonic()
        line.note_recovery(since)
    _end_one_by_one(line, since)


@fault("MQTT connections reset while frames come")
def reset(scene: Scene) -> None:
    line = _begin(scene, through_proxy=True)
    assert line.proxy is not None
    with line.shooting(60, 0.05):
        time.sleep(0.5)
        line.proxy.reset()
        since = time.monotonic()
        line.note_recovery(since)
    _end_one_by_one(line, since)


@fault("MQTT 200 ms late, each way, for 5 s")
def delayed(scene: Scene) -> None:
    line = _begin(scene, through_proxy=True)
    assert line.proxy is not None
    with line.shooting(100, 0.05):
        line.proxy.delay(0.2)
        time.sleep(5)
        line.proxy.heal()
        since = time.monotonic()
        line.note_recovery(since)
    line.recover(since)
    scene.check_edges(line.agent, mqtt_broker_down=0, mqtt_broker_up=1)
    line.finish()
