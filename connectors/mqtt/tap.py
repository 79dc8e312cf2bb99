"""Copies of one camera's new frames on MQTT, for an enrolment beside a running agent.

The tap has its own client id and a clean session, so that the agent's session is not touched. It subscribes to a
shared camera without `$share`, so that it takes no frames away from the agents that share it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator
from typing import Final, Self

from connectors.mqtt.wire.client import Message, Role
from connectors.mqtt.wire.connection import Connection
from connectors.mqtt.wire.session import Peer, Session
from inspector.config.config import Config
from inspector.config.line_sections import CameraSection
from inspector.stream.envelope import open_envelope

WAITING: Final = 8
"""Most frames that wait here. Beyond that the socket is not read."""


class MqttTap(Peer):
    """A FrameTap. Entered means subscribed. Raises BrokerRefused, BrokerUnavailable."""

    def __init__(self, config: Config, camera: CameraSection) -> None:
        self._filter = unshared(config.topic_of(camera))
        self._is_json = camera.encoding == "json" or camera.trigger_from == "json"
        role = Role(f"{config.agent.name}-enroll-{uuid.uuid4().hex[:8]}", receive_maximum=WAITING)
        self._session = Session(config.mqtt, role, peer=self, is_broker_required=True)
        self._ready: deque[bytes] = deque()
        self._changed = asyncio.Event()

    @property
    def name(self) -> str:
        return f"MQTT topic {self._filter}"

    async def __aenter__(self) -> Self:
        await self._session.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.__aexit__(*exc)

    async def frames(self) -> AsyncIterator[bytes]:
        """Encoded images as they come, across reconnects, without end."""
        while True:
            if self._session.failure is not None:
                raise self._session.failure
            if not self._ready:
                self._changed.clear()
                await self._changed.wait()
                continue
            payload = self._ready.popleft()
            self._regulate()
            yield payload

    # --- callbacks of the session ---

    async def prepare(self, connection: Connection) -> None:
        await connection.subscribe([self._filter])

    def received(self, connection: Connection, message: Message) -> None:
        if message.packet_id:
            connection.acknowledge(message.packet_id)
        if not message.is_retained:  # an old frame of unknown age, retained by the broker
            self._ready.append(open_envelope(message.payload, message.properties, is_json=self._is_json).payload)
            self._changed.set()
        self._regulate()

    def disconnected(self) -> None:
        self._changed.set()

    def _regulate(self) -> None:
        if self._session.connection is not None:
            self._session.connection.set_reading(len(self._ready) < WAITING)


def unshared(topic_filter: str) -> str:
    """The filter without its prefix `$share/group/`, if it has one."""
    levels = topic_filter.split("/", 2)
    return levels[2] if levels[0] == "$share" and len(levels) == 3 else topic_filter
