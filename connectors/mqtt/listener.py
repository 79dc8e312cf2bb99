"""Hears all messages on some topics, for measurements: its own client id, a clean session, nothing kept for it.

A message is handed over when it is read from the socket, and acknowledged at once. Retained messages, which a broker
keeps for ever, can be removed after a measurement.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Self

from connectors.mqtt.wire.client import Message, Role
from connectors.mqtt.wire.connection import Connection
from connectors.mqtt.wire.session import Peer, Session
from inspector.config.broker_sections import MqttSection

Hear = Callable[[str, bytes], None]

RETAINED_S: Final = 0.3
"""Longest pause between two retained messages that the broker sends after a subscription."""


class MqttListener(Peer):
    """Entered means subscribed. `hear` is called with topic and payload. Raises BrokerRefused, BrokerUnavailable."""

    def __init__(
        self, settings: MqttSection, client_id: str, filters: Sequence[str], hear: Hear, *, hears_retained: bool = False
    ) -> None:
        """`hears_retained`: states are published as retained messages, and are left out otherwise."""
        self._hears_retained = hears_retained
        self._filters = list(filters)
        self._hear = hear
        self._session = Session(settings, Role(client_id), peer=self, is_broker_required=True)

    async def __aenter__(self) -> Self:
        await self._session.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.__aexit__(*exc)

    # --- callbacks of the session ---

    async def prepare(self, connection: Connection) -> None:
        await connection.subscribe(self._filters)

    def received(self, connection: Connection, message: Message) -> None:
        if (self._hears_retained or not message.is_retained) and message.topic is not None:
            self._hear(message.topic, message.payload)
        if message.packet_id:
            connection.acknowledge(message.packet_id)


async def remove_retained(settings: MqttSection, client_id: str, topic_filter: str) -> int:
    """Remove all retained messages on these topics; returns their number. Raises BrokerRefused, BrokerUnavailable."""
    remover = _Remover(topic_filter)
    session = Session(settings, Role(client_id), peer=remover, is_broker_required=True)
    async with session:
        while remover.has_news:
            remover.has_news = False
            await asyncio.sleep(RETAINED_S)
        if session.connection is not None:
            for topic in tuple(remover.topics):
                await session.connection.wait_for_room()
                await session.connection.publish(topic, b"", retain=True)
    return len(remover.topics)


class _Remover(Peer):
    """Collects the topics of retained messages."""

    def __init__(self, topic_filter: str) -> None:
        self._filter = topic_filter
        self.topics: list[str] = []
        self.has_news = True

    async def prepare(self, connection: Connection) -> None:
        await connection.subscribe([self._filter])

    def received(self, connection: Connection, message: Message) -> None:
        # A removal comes back to its sender as a retained message without content.
        if message.is_retained and message.payload and message.topic is not None:
            self.topics.append(message.topic)
            self.has_news = True
        if message.packet_id:
            connection.acknowledge(message.packet_id)
