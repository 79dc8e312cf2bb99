"""Cameras and subscribers for the fault suite, each with a client of its own that is not the agent's."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt
from aiokafka import AIOKafkaProducer
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.faults.account import Account, Key, key_of
from tests.parts import encoded

PUBLISH_TIMEOUT_S = 90.0
KINDS = 64
"""Different pictures of a camera: so many that no few of them come in turn, even where most frames are shed."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame as a camera sends it."""

    camera: str
    frame_id: str
    trigger_id: int
    payload: bytes

    @property
    def key(self) -> Key:
        return key_of(self.camera, self.frame_id, self.payload)


class Film:
    """Frames of one camera, no two alike: every fourth part is bad, ids and triggers count up from 1."""

    def __init__(self, camera: str) -> None:
        self.camera = camera
        self._numbers = itertools.count(1)
        self._triggers = itertools.count(1)
        self._life = 1
        self._images = [encoded("disc" if n % 2 else "bar", 500 + n, is_good=n % 4 != 0) for n in range(KINDS)]

    def count_again(self) -> None:
        """Ids and triggers begin at 1, as after the camera was switched off; the pictures are others."""
        self._numbers = itertools.count(1)
        self._triggers = itertools.count(1)
        self._life += 1

    def set_trigger(self, first: int) -> None:
        """Triggers count on from there; frame ids go on as they were."""
        self._triggers = itertools.count(first)

    def next(self, note: str = "") -> Shot:
        """The next frame; `note` stands in its bytes, and no decoder minds."""
        number = next(self._numbers)
        text = f"{self.camera} {number} of life {self._life} {note}"
        trigger = next(self._triggers)
        return Shot(self.camera, f"f{number}", trigger, commented(self._images[number % KINDS], text))


def commented(jpeg: bytes, text: str) -> bytes:
    """The JPEG with a comment segment: other bytes, the same pixels."""
    comment = text.encode()
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]


class MqttCamera:
    """A camera on MQTT 5, QoS 1. A frame counts as delivered when the broker has acknowledged it.

    Its session outlives connections: what was not acknowledged is sent again by itself when the broker is back.
    """

    def __init__(self, address: tuple[str, int], account: Account, camera: str = "cam1") -> None:
        self.film = Film(camera)
        self._account = account
        self._beside = ThreadPoolExecutor(1, f"camera {camera}")
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=f"camera-{camera}", protocol=mqtt.MQTTv5, reconnect_on_failure=True
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.max_queued_messages_set(0)
        self._client.max_inflight_messages_set(100)
        self._acknowledged: set[int] = set()
        self._client.on_publish = self._note
        self._client.connect(*address, clean_start=mqtt.MQTT_CLEAN_START_FIRST_ONLY, properties=_lasting_session())
        self._client.loop_start()

    def shoot(self, frames: int, pause_s: float = 0.0, note: str = "") -> list[Shot]:
        """All with the broker when it returns."""
        shots = [self.film.next(note) for _ in range(frames)]
        self.send(shots, pause_s)
        return shots

    def shoot_beside(self, frames: int, pause_s: float) -> Future[list[Shot]]:
        """The same on a thread of its own; `result` raises what went wrong there."""
        return self._beside.submit(self.shoot, frames, pause_s)

    def send(self, shots: Sequence[Shot], pause_s: float = 0.0) -> None:
        """These frames, new ones or some that were sent before."""
        sent: list[tuple[int, Key]] = []
        self._acknowledged.clear()
        for shot in shots:
            properties = Properties(PacketTypes.PUBLISH)
            properties.UserProperty = [("frame-id", shot.frame_id), ("trigger-id", str(shot.trigger_id))]
            topic = f"t/{shot.camera}/frame"
            # What is published while the broker is away is kept, and sent when it is back.
            sent.append((self._client.publish(topic, shot.payload, qos=1, properties=properties).mid, shot.key))
            if pause_s:
                time.sleep(pause_s)
        deadline = time.monotonic() + PUBLISH_TIMEOUT_S
        for number, key in sent:
            while number not in self._acknowledged:
                if time.monotonic() > deadline:
                    raise AssertionError("the broker did not take the camera's frames")
                time.sleep(0.01)
            self._account.deliver(key)

    def _note(self, _client: mqtt.Client, _userdata: Any, number: int, reason: Any, _properties: Any) -> None:
        if not reason.is_failure:
            self._acknowledged.add(number)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self._beside.shutdown(wait=False, cancel_futures=True)


class KafkaCamera:
    """A camera on Kafka, acks from all replicas. Its frames count as delivered when the cluster has them."""

    def __init__(self, bootstrap: str, topic: str, account: Account, camera: str = "cam1") -> None:
        self.film = Film(camera)
        self._bootstrap = bootstrap
        self._topic = topic
        self._account = account
        self._beside = ThreadPoolExecutor(1, f"camera {camera}")

    def shoot(self, frames: int, pause_s: float = 0.0, note: str = "") -> list[Shot]:
        """All with the cluster when it returns."""
        shots = [self.film.next(note) for _ in range(frames)]
        asyncio.run(self._send(shots, pause_s))
        return shots

    def shoot_beside(self, frames: int, pause_s: float) -> Future[list[Shot]]:
        """The same on a thread of its own; `result` raises what went wrong there."""
        return self._beside.submit(self.shoot, frames, pause_s)

    async def _send(self, shots: Sequence[Shot], pause_s: float) -> None:
        # Idempotent: a producer that repeats what a dying broker had taken already makes no second record.
        async with AIOKafkaProducer(
            bootstrap_servers=self._bootstrap, acks="all", enable_idempotence=True, retry_backoff_ms=200
        ) as producer:
            sent = []
            for shot in shots:
                names = [("camera", shot.camera), ("frame-id", shot.frame_id), ("trigger-id", str(shot.trigger_id))]
                headers = [(name, text.encode()) for name, text in names]
                future = await producer.send(self._topic, shot.payload, key=shot.camera.encode(), headers=headers)
                sent.append((future, shot.key))
                await asyncio.sleep(pause_s)
            for future, key in sent:
                await asyncio.wait_for(future, PUBLISH_TIMEOUT_S)
                self._account.deliver(key)

    def close(self) -> None:
        self._beside.shutdown(wait=False, cancel_futures=True)


class Ear:
    """Subscribes to all that an agent says (QoS 1, a session that outlives connections) and tells the account."""

    def __init__(self, address: tuple[str, int], account: Account) -> None:
        self._account = account
        self._is_subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="ear", protocol=mqtt.MQTTv5)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._subscribe
        self._client.on_subscribe = lambda *_: self._is_subscribed.set()
        self._client.on_message = self._hear
        self._client.connect(*address, clean_start=mqtt.MQTT_CLEAN_START_FIRST_ONLY, properties=_lasting_session())
        self._client.loop_start()
        if not self._is_subscribed.wait(PUBLISH_TIMEOUT_S):
            raise AssertionError("the broker did not take the subscription")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _subscribe(self, client: mqtt.Client, *_: Any) -> None:
        endings = ("+/verdict", "+/reject", "gate/+/decision", "gate/+/heartbeat", "agent/+/state")
        client.subscribe([(f"t/{ending}", mqtt.SubscribeOptions(qos=1)) for ending in endings])

    def _hear(self, _client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        self._account.hear(message.topic, json.loads(message.payload))


def _lasting_session() -> Properties:
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 3600
    return properties
