"""The MQTT broker dies, stops answering, or is cut off."""

from __future__ import annotations

import time

from tests.faults.outcome import fault
from tests.faults.scene import Scene

BLACK_HOLE_S = 30.0


@fault("MQTT broker kill -9 and restart", is_fast=True)
def broker_killed(scene: Scene) -> None:
    line = scene.line().start()
    line.camera.shoot(30)
    line.settle()
    line.camera.shoot(30)
    time.sleep(1.5)  # mosquitto saves at its next turn, and says to nobody that it has; its interval is 1 s
    line.broker.kill()
    line.agent.until(lambda: "event=mqtt_broker_down " in line.agent.log, 30, "the loss is noticed")
    line.broker.start()
    line.recover(time.monotonic())
    line.agent.until(lambda: line.agent.log.count("event=mqtt_broker_up ") == 2, 30, "the return is told")
    scene.check_edges(line.agent, mqtt_broker_down=1, mqtt_broker_up=2)
    line.finish()
