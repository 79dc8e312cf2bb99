"""A simulated camera: a paho client of its own, on MQTT 5 or 3.1.1, QoS 1.

The number of the part stands in a comment segment of each JPEG, so no two parts have equal bytes and the SHA-256 of a
result row names its part.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.faults.cameras import commented
from tests.parts import encoded
from tests.plc.plan import PlannedPart

KINDS: Final = 8


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """`trigger`: where a frame carries its trigger id. `clock_off_s` None: the frame does not say when it was taken."""

    protocol: str
    trigger: str
    clock_off_s: float | None = None


class Camera:
    """Connected when made. A frame that is sent while the broker is away goes out when it is back."""

    def __init__(self, address: tuple[str, int], topic: str, options: CameraOptions) -> None:
        self._topic = topic
        self._options = options
        self._images = {
            is_bad: [encoded("disc", 500 + kind, is_good=not is_bad) for kind in range(KINDS)]
            for is_bad in (False, True)
        }
        self._lock = threading.Lock()
        self._part_of_message: dict[int, tuple[str, int]] = {}
        self._early: set[int] = set()
        self.sent: dict[str, int] = {}
        """Part number by SHA-256 of its frame."""
        self.delivered: dict[str, int] = {}
        """The same of those that the broker has acknowledged."""
        five = options.protocol == "5"
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id="simulated-camera",
            protocol=mqtt.MQTTv5 if five else mqtt.MQTTv311,
            clean_session=None if five else True,
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.max_queued_messages_set(0)
        self._client.max_inflight_messages_set(100)
        self._client.on_publish = self._on_publish
        self._client.connect(*address, keepalive=5)
        self._client.loop_start()

    def shoot(self, part: PlannedPart) -> None:
        """The frame of this part, twice where it is duplicated."""
        payload = commented(self._images[part.is_bad][part.number % KINDS], f"part {part.number}")
        sha = hashlib.sha256(payload).hexdigest()
        self.sent[sha] = part.number
        for _ in range(2 if part.is_duplicated else 1):
            message = self._client.publish(self._topic_of(part), payload, qos=1, properties=self._properties(part))
            with self._lock:
                self._part_of_message[message.mid] = sha, part.number
                if message.mid in self._early:
                    self._early.discard(message.mid)
                    self.delivered[sha] = part.number

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _topic_of(self, part: PlannedPart) -> str:
        return f"{self._topic}/{part.trigger}" if self._options.trigger == "topic" else self._topic

    def _properties(self, part: PlannedPart) -> Properties | None:
        if self._options.protocol != "5":
            return None
        pairs = []
        if self._options.trigger == "property":
            pairs.append(("trigger-id", str(part.trigger)))
        if self._options.clock_off_s is not None:
            taken_at = datetime.now(UTC) + timedelta(seconds=self._options.clock_off_s)
            pairs.append(("captured-at", taken_at.isoformat()))
        properties = Properties(PacketTypes.PUBLISH)
        if pairs:
            properties.UserProperty = pairs
        return properties

    def _on_publish(self, _client: mqtt.Client, _userdata: Any, number: int, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            return
        with self._lock:
            if number in self._part_of_message:
                sha, part = self._part_of_message[number]
                self.delivered[sha] = part
            else:
                self._early.add(number)  # the answer came before `publish` returned
