"""One MQTT connection: one paho client object, from CONNECT until its socket is gone.

A connection never reconnects and is never used again, so paho can't re-send a message by itself. A caller that wants
a message sent again after a loss has to publish it again. Reading can be stopped: no other bound on memory
holds for every broker. The keep-alive goes on meanwhile. All methods must be called on the event loop's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from connectors.mqtt.wire.bridge import CONNECT_TIMEOUT_S, Bridge
from connectors.mqtt.wire.client import Message, Role, metadata_of, new_client, publish_properties
from connectors.mqtt.wire.keepalive import SIGN_OF_LIFE
from connectors.mqtt.wire.refusal import UnreadablePacket, broken_link, hung_up, refused
from inspector.config.broker_sections import MqttSection
from inspector.errors import BrokerRefused, InspectorError

ANSWER_TIMEOUT_S: Final = 10.0
GOODBYE_S: Final = 1.0
SEND_WINDOW: Final = 64
"""Most messages sent and not yet answered, if the broker sets no smaller bound."""


class Listener(Protocol):
    """Called by a connection, on the loop's thread. The methods must not raise."""

    def connected(self, connection: Connection, session_present: bool, /) -> None:
        """The broker has accepted the connection. This call comes before any message of the connection."""

    def received(self, connection: Connection, message: Message, /) -> None:
        """A message has come. The listener has to acknowledge it."""


class Connection:
    """One connection, opened once and lost once. `lost` gets the reason as soon as the socket is gone."""

    def __init__(self, settings: MqttSection, role: Role, password: str | None, listener: Listener) -> None:
        self._role = role
        self._listener = listener
        self.protocol = settings.protocol
        self.maximum_packet_bytes: int | None = None
        """Largest packet that the broker takes, from its answer to the connection; None if it named no limit."""

        self.opening_ns = 0
        """The time at which `open` began, in monotonic nanoseconds."""

        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[InspectorError] = self._loop.create_future()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._replies: dict[int, asyncio.Future[bool]] = {}
        self._refused: weakref.WeakSet[asyncio.Future[bool]] = weakref.WeakSet()
        self._unanswered = 0
        self._send_window = SEND_WINDOW
        self._room = asyncio.Event()
        self._client = new_client(settings, role, password)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.on_publish = self._on_publish
        self._client.on_subscribe = self._on_subscribe
        self._client.on_unsubscribe = self._on_unsubscribe
        self._bridge = Bridge(self._client, settings, role, broken=self.abort)

    # --- life ---

    async def open(self) -> None:
        """Connect. Raises BrokerUnavailable or BrokerRefused; the connection is then lost."""
        is_up = False
        self.opening_ns = int(self._loop.time() * 1e9)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S + 1):
                await self._bridge.open()
                await self._opened
            is_up = True
        except TimeoutError:
            raise broken_link(self.address, "it did not answer in time") from None
        finally:
            if not is_up:
                self.abort("given up while connecting")

    async def close(self) -> None:
        """Say goodbye after everything sent before has reached the broker. A persistent session stays there."""
        # A socket closed with unread bytes in it is reset, and the last acknowledgements with it.
        if self.is_open and await self.round_trip(GOODBYE_S) is not None:
            self._client.disconnect()
            self._bridge.flush()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_S):
                    await asyncio.shield(self.lost)
        self.abort()

    def abort(self, reason: str = "closed here") -> None:
        """Close at once. Bytes that have not left this machine, those in the kernel included, are never sent."""
        self._bridge.close(destroying_unsent=True)
        self._end(broken_link(self.address, reason))

    @property
    def is_open(self) -> bool:
        return self._bridge.is_attached and not self.lost.done()

    @property
    def was_opened(self) -> bool:
        """Whether the broker ever accepted the connection."""
        return self._opened.done() and self._opened.exception() is None

    @property
    def address(self) -> str:
        return self._bridge.address

    # --- sending ---

    @property
    def send_room(self) -> int:
        """Number of messages that may be published before one is answered, within both sides' bounds."""
        return max(0, self._send_window - self._unanswered)

    async def wait_for_room(self) -> None:
        """Wait until a message may be published, or until the link is lost."""
        while self.is_open and not self.send_room:
            self._room.clear()
            await self._room.wait()

    @property
    def unsent_bytes(self) -> int:
        """Bytes that have not reached the broker's machine."""
        return self._bridge.unsent_bytes

    @property
    def is_jammed(self) -> bool:
        """Whether the network takes no more bytes for now."""
        return self._bridge.is_jammed

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        properties: Iterable[tuple[str, str]] = (),
        expiry_s: int | None = None,
    ) -> asyncio.Future[bool]:
        """Send a message once with QoS 1. The answer is True at the PUBACK, False if it is refused or the link is lost.

        If `send_room` is 0, nothing is sent and the answer is False at once. The answer must not be cancelled.
        """
        packet_id = None
        if self.send_room > 0:
            packet_id = self._publish(topic, payload, 1, retain, publish_properties(properties, expiry_s))
        answer = self._reply(packet_id)
        if packet_id is not None:
            self._unanswered += 1
            answer.add_done_callback(self._count_answer)
        self._bridge.flush()
        return answer

    def was_refused(self, answer: asyncio.Future[bool]) -> bool:
        """Whether the broker itself has refused the message with this answer (MQTT 5), so that nobody gets it."""
        return answer in self._refused

    def send(self, topic: str, payload: bytes, properties: Iterable[tuple[str, str]] = ()) -> None:
        """Send a message with QoS 0: once or not at all."""
        self._publish(topic, payload, 0, False, publish_properties(properties, None))
        self._bridge.flush()

    async def subscribe(self, filters: Sequence[str], *, is_own_left_out: bool = False) -> None:
        """Subscribe with QoS 1. Raises BrokerRefused if a filter isn't allowed, or BrokerUnavailable.

        The answer comes behind messages that waited before it. While these are not all read, its lateness is no fault.
        `is_own_left_out`: with QoS 0, and without what this client publishes itself, which only MQTT 5 knows.
        """
        answer = self.ask_for(filters, is_own_left_out=is_own_left_out)
        while not answer.done():
            await asyncio.wait((answer,), timeout=ANSWER_TIMEOUT_S)
            if not answer.done() and not self._bridge.keepalive.is_behind:
                raise broken_link(self.address, "it does not answer a subscription")
        is_granted = answer.result()
        if self.lost.done():
            raise broken_link(self.address, "lost while subscribing")
        if not is_granted:
            raise BrokerRefused(
                f"The broker at {self.address} does not let {self._role.client_id} subscribe to {', '.join(filters)}."
            )

    def ask_for(self, filters: Sequence[str], *, is_own_left_out: bool = False) -> asyncio.Future[bool]:
        """Subscribe as `subscribe` does, without waiting. Raises BrokerRefused for a filter that can't be one.

        The answer is False if a filter is refused or the link is lost. It must not be cancelled.
        """
        try:
            # "Retain as published" (MQTT 5) shows that a frame was sent with retain also while we are connected.
            as_published = SubscribeOptions(qos=1, retainAsPublished=True)
            if is_own_left_out:
                as_published = SubscribeOptions(qos=0, noLocal=True, retainAsPublished=True)
            if self.protocol == "5":
                outcome, packet_id = self._client.subscribe([(each, as_published) for each in filters])
            else:
                outcome, packet_id = self._client.subscribe([(each, 1) for each in filters])
        except ValueError:
            raise BrokerRefused(
                f"No broker can take a subscription to {', '.join(filters)}; check the topic."
            ) from None
        answer = self._reply(packet_id if outcome == MQTTErrorCode.MQTT_ERR_SUCCESS else None)
        self._bridge.flush()
        return answer

    def unsubscribe(self, topic_filter: str) -> None:
        """Send an UNSUBSCRIBE without waiting for its answer."""
        self._client.unsubscribe(topic_filter)
        self._bridge.flush()

    def acknowledge(self, packet_id: int) -> None:
        """Queue the PUBACK of one message for the next `flush` or turn of the loop. The caller keeps the order."""
        self._client.ack(packet_id, 1)

    def flush(self) -> None:
        """Hand queued packets to the network now, as far as it takes them."""
        self._bridge.flush()

    def sign_of_life(self) -> asyncio.Future[bool]:
        """Ask the broker for an answer, which comes when it has handled everything sent before.

        The answer is False if the link is lost before. It comes only while the socket is read, and must not be
        cancelled.
        """
        _, packet_id = self._client.unsubscribe(SIGN_OF_LIFE)
        answer = self._reply(packet_id)
        self._bridge.flush()
        return answer

    async def round_trip(self, timeout_s: float) -> float | None:
        """Milliseconds until the broker has handled everything sent before; None without an answer in time.

        The socket is read meanwhile, and waiting messages go to the listener.
        """
        self._bridge.set_reading(True)
        started_s = self._loop.time()
        answer = self.sign_of_life()
        try:
            async with asyncio.timeout(timeout_s):
                await answer
        except TimeoutError:
            return None
        return None if self.lost.done() else (self._loop.time() - started_s) * 1000

    def set_reading(self, wanted: bool) -> None:
        """Read the socket, or stop reading it. While it is not read, the broker's window fills and no more is sent."""
        self._bridge.set_reading(wanted)

    # --- paho's callbacks ---

    def _on_connect(
        self, _client: paho.Client, _userdata: Any, flags: paho.ConnectFlags, reason: ReasonCode, properties: Any
    ) -> None:
        if self._opened.done():
            return
        if reason.is_failure:
            self._opened.set_exception(refused(self.address, self._role.client_id, reason))
            return
        self._send_window = min(SEND_WINDOW, getattr(properties, "ReceiveMaximum", SEND_WINDOW))
        self.maximum_packet_bytes = getattr(properties, "MaximumPacketSize", None)
        self._opened.set_result(None)
        self._listener.connected(self, flags.session_present)

    def _on_disconnect(
        self, _client: paho.Client, _userdata: Any, flags: paho.DisconnectFlags, reason: ReasonCode, _properties: Any
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self._end(refused(self.address, self._role.client_id, reason))
        elif not self._opened.done() and reason.getName() == "Protocol error":
            # paho drops a CONNACK of MQTT 3.1.1 that refuses the version before it can be seen.
            self._end(refused(self.address, self._role.client_id, ReasonCode(PacketTypes.CONNACK, identifier=132)))
        elif reason.getName() == "Protocol error":
            self._end(UnreadablePacket(f"The broker at {self.address} sent a packet that can't be read."))
        elif self.was_opened and reason.getName() == "Unspecified error":
            self._end(hung_up(self.address))
        else:
            self._end(broken_link(self.address, reason.getName().lower()))

    def _on_message(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        try:
            topic: str | None = message.topic
        except UnicodeDecodeError:
            topic = None
        self._listener.received(
            self,
            Message(
                topic=topic,
                payload=bytes(message.payload),
                packet_id=message.mid if message.qos else 0,
                is_duplicate=message.dup,
                is_retained=message.retain,
                properties=metadata_of(message.properties),
            ),
        )

    def _on_publish(self, _client: paho.Client, _userdata: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        if reason.is_failure and mid in self._replies:
            self._refused.add(self._replies[mid])
        self._answer(mid, not reason.is_failure)

    def _on_subscribe(
        self, _client: paho.Client, _userdata: Any, mid: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        self._answer(mid, not any(reason.is_failure for reason in reasons))

    def _on_unsubscribe(
        self, _client: paho.Client, _userdata: Any, mid: int, _reasons: list[ReasonCode], _properties: Any
    ) -> None:
        self._answer(mid, True)
        self._bridge.keepalive.note_answer(mid)

    # --- inside ---

    def _publish(self, topic: str, payload: bytes, qos: int, retain: bool, properties: Properties | None) -> int | None:
        """The packet id of the message; None if paho did not take it."""
        if not self.is_open:
            return None
        sent = self._client.publish(topic, payload, qos, retain, properties if self.protocol == "5" else None)
        return sent.mid if sent.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def _reply(self, packet_id: int | None) -> asyncio.Future[bool]:
        """A future for the broker's answer to a packet. It is False at once if the packet was not sent."""
        answer: asyncio.Future[bool] = self._loop.create_future()
        if packet_id is None or self.lost.done():
            answer.set_result(False)
        else:
            self._replies[packet_id] = answer
        return answer

    def _answer(self, packet_id: int, value: bool) -> None:
        answer = self._replies.pop(packet_id, None)
        if answer is not None and not answer.done():
            answer.set_result(value)

    def _count_answer(self, _answer: asyncio.Future[bool]) -> None:
        self._unanswered -= 1
        self._room.set()

    def _end(self, reason: InspectorError) -> None:
        """Note the loss and set every pending answer to False. Only the first reason counts."""
        if self.lost.done():
            return
        self.lost.set_result(reason)
        self._bridge.close()
        if not self._opened.done():
            self._opened.set_exception(reason)
            self._opened.exception()  # seen: `open` may have given up waiting for it
        for packet_id in list(self._replies):
            self._answer(packet_id, False)
        self._room.set()
