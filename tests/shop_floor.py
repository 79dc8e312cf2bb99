"""What stands around an agent: the camera, the PLC and the MES of one line, as one MQTT 5 client that is not ours."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.brokers import Mosquitto

PASS, REJECT, QUARANTINE = 1, 2, 3


class ShopFloor:
    """One camera `cam1` at one gate `gate1` below the prefix `t`. `heard`: topic and message, in order of arrival."""

    def __init__(self, broker: Mosquitto) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self._commands = 0
        self._is_listening = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="floor", protocol=paho.MQTTv5)
        self._client.max_queued_messages_set(0)
        self._client.on_message = self._note
        self._client.on_subscribe = lambda *_: self._is_listening.set()
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        self._client.subscribe([("t/gate/gate1/decision", 1), ("t/gate/gate1/heartbeat", 0), ("t/cam1/health", 1)])
        self._client.subscribe("t/cmd/+/reply", 1)
        assert self._is_listening.wait(30)

    def _note(self, _client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        self.heard.append((message.topic, json.loads(message.payload)))

    def of(self, ending: str) -> list[dict[str, Any]]:
        """The messages of all topics that end so."""
        return [said for topic, said in self.heard if topic.endswith(ending)]

    def is_ready(self) -> bool:
        beats = self.of("heartbeat")
        return bool(beats) and beats[-1]["ready"] == 1

    def show(self, trigger: int | None, image: bytes, **properties: str) -> None:
        """A frame of the camera; without a trigger id where that is None. It has left when this returns."""
        named = {name.replace("_", "-"): value for name, value in properties.items()}
        if trigger is not None:
            named["trigger-id"] = str(trigger)
        sent = Properties(PacketTypes.PUBLISH)
        sent.UserProperty = list(named.items())
        self._client.publish("t/cam1/frame", image, qos=1, properties=sent)

    def report(self, trigger: int, action: int, source: int = 1, epoch: int = 1) -> None:
        """An ack of the PLC."""
        ack = {"v": 1, "ep": epoch, "trig": trigger, "act": action, "src": source, "done": 1}
        self._client.publish("t/gate/gate1/ack", json.dumps(ack), qos=1)

    def tell(self, name: str, **keys: Any) -> None:
        """A command of the MES."""
        self._commands += 1
        now = datetime.now(UTC).isoformat()
        table = {"v": 1, "cmd_id": f"c{self._commands}", "sent_at": now, "by": "ada", "reason": "early shift", **keys}
        self._client.publish(f"t/cmd/{name}", json.dumps(table), qos=1)

    def leave(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def shop_floor(broker: Mosquitto) -> Iterator[ShopFloor]:
    """Listening when the block begins."""
    floor = ShopFloor(broker)
    try:
        yield floor
    finally:
        floor.leave()
