"""A simulated camera: a paho client of its own, on MQTT 5 or 3.1.1, QoS 1.

The number of the part stands in a comment segment of each JPEG, so no two parts have equal bytes and the SHA-256 of a
result row names its part.
"""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.faults.cameras import commented
from tests.plc.plan import PlannedPart
from tests.plc.products import Pictures


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """`trigger`: where a frame carries its trigger id. `clock_off_s` None: the frame does not say when it was taken."""

    name: str
    protocol: str
    trigger: str
    clock_off_s: float | None = None


class Camera:
    """Connected when made. A frame that is sent while the broker is away goes out when it is back."""

    def __init__(self, address: tuple[str, int], topic: str, options: CameraOptions, pictures: Pictures) -> None:
        self._topic = topic
        self._options = options
        self._images = pictures
        self._lock = threading.Lock()
        self._part_of_message: dict[int, tuple[str, int]] = {}
        self._early: set[int] = set()
        self.sent: dict[str, int] = {}
        """Part number by SHA-256 of its frame."""
        self.delivered: dict[str, int] = {}
        """The same of those that the broker has acknowledged."""
        self.delivered_s: dict[str, float] = {}
        """When it did, by the monotonic clock."""
        five = options.protocol == "5"
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"simulated-camera-{options.name}",
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
        images = self._images[part.is_bad]
        payload = commented(images[part.number % len(images)], f"part {part.number} of {self._options.name}")
        sha = hashlib.sha256(payload).hexdigest()
        self.sent[sha] = part.number
        for _ in range(2 if part.is_duplicated else 1):
            message = self._client.publish(self._topic_of(part), payload, qos=1, properties=self._properties(part))
            with self._lock:
                self._part_of_message[message.mid] = sha, part.number
                if message.mid in self._early:
                    self._early.discard(message.mid)
                    self._note_delivered(sha, part.number)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _topic_of(self, part: PlannedPart) -> str:
        if self._options.trigger != "topic":
            return self._topic
        return f"{self._topic}/{part.trigger if part.is_numbered else 'none'}"

    def _properties(self, part: PlannedPart) -> Properties | None:
        if self._options.protocol != "5":
            return None
        pairs = []
        if self._options.trigger == "property" and part.is_numbered:
            pairs.append(("trigger-id", str(part.trigger)))
        if self._options.clock_off_s is not None:
            taken_at = datetime.now(UTC) + timedelta(seconds=self._options.clock_off_s)
            pairs.append(("captured-at", taken_at.isoformat()))
        properties = Properties(PacketTypes.PUBLISH)
        if pairs:
            properties.UserProperty = pairs
        return properties

    def _note_delivered(self, sha: str, part: int) -> None:
        self.delivered.setdefault(sha, part)
        self.delivered_s.setdefault(sha, time.monotonic())

    def _on_publish(self, _client: mqtt.Client, _userdata: Any, number: int, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            return
        with self._lock:
            if number in self._part_of_message:
                self._note_delivered(*self._part_of_message[number])
            else:
                self._early.add(number)  # the answer came before `publish` returned
