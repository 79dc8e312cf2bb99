"""A camera's side of MQTT, for the simulator, the demo and tests: publishes frames and learns whether they arrived.

The publisher never re-sends by itself. The caller learns whether the broker took the message, and decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Self

from connectors.mqtt.wire.client import Role
from connectors.mqtt.wire.connection import Connection
from connectors.mqtt.wire.refusal import broken_link
from connectors.mqtt.wire.session import Peer, Session
from inspector.config.broker_sections import MqttSection
from inspector.errors import BrokerRefused


class MqttPublisher(Peer):
    """Publishes a camera's frames to MQTT. Entered means connected; entering raises BrokerUnavailable, BrokerRefused.

    At most `in_flight` messages are unanswered at once, or fewer if the broker sets a lower limit.
    """

    def __init__(self, settings: MqttSection, client_id: str, in_flight: int = 32) -> None:
        self._address = f"{settings.host}:{settings.port}"
        self._session = Session(settings, Role(client_id), peer=self, is_broker_required=True)
        self._room = asyncio.Semaphore(in_flight)
        self._up = asyncio.Event()

    @property
    def is_connected(self) -> bool:
        return self._session.connection is not None

    async def __aenter__(self) -> Self:
        await self._session.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.__aexit__(*exc)

    async def publish(
        self,
        topic: str,
        payload: bytes,
        properties: Mapping[str, str] | None = None,
        *,
        qos: int = 1,
    ) -> None:
        """Publish a message. When this returns, the broker has it (QoS 1) or the socket has it (QoS 0).

        Raises BrokerUnavailable if the link is down or is lost before the answer; the broker may have the message
        even then. Raises BrokerRefused for a message larger than the broker takes.
        `properties` become user properties on MQTT 5 and are left out on 3.1.1.
        """
        pairs = list((properties or {}).items())
        async with self._room:
            connection = self._session.connection
            if connection is None:
                raise broken_link(self._address, "it is down")
            most_bytes = connection.maximum_packet_bytes
            if most_bytes is not None and len(payload) + len(topic) > most_bytes:
                raise BrokerRefused(
                    f"The broker at {self._address} takes packets of at most {most_bytes} bytes, and a message to "
                    f"{topic} has {len(payload)}; raise the broker's limit, or send smaller images."
                )
            await connection.wait_for_room()
            if qos == 0:
                connection.send(topic, payload, pairs)
            elif not await asyncio.shield(connection.publish(topic, payload, properties=pairs)):
                raise broken_link(self._address, f"a message to {topic} was not taken")

    async def ensure_connected(self, timeout_s: float) -> None:
        """Connect, if there is no connection. Raises BrokerUnavailable if that takes longer than allowed."""
        try:
            async with asyncio.timeout(timeout_s):
                while not self.is_connected:
                    self._up.clear()
                    await self._up.wait()
        except TimeoutError:
            raise broken_link(self._address, f"it did not come back within {timeout_s:g} s") from None

    # --- callbacks of the session ---

    async def serve(self, _connection: Connection) -> None:
        self._up.set()
