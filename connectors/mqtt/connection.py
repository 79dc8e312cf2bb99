"""One MQTT connection on the event loop: one paho client object, from CONNECT until its socket is gone.

A connection never reconnects and is never used again, so paho can't re-send anything behind our back:
who wants a message to go out again after a loss says so. No paho thread runs; the socket is read and
written by the loop, only name lookup, TCP and TLS handshakes happen on a thread of their own.
Reading can be stopped, which is the only thing that bounds memory whatever the broker sends; the
keep-alive goes on meanwhile. All methods belong to the event loop's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import ssl
import struct
import termios
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import paho.mqtt.client as paho
from paho.mqtt import MQTTException
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from connectors.mqtt.client import (
    Message,
    Role,
    connect_properties,
    metadata_of,
    new_client,
    publish_properties,
    run_on_thread,
)
from connectors.mqtt.refusal import broken_link, refused
from inspector.config import MqttSection
from inspector.errors import BrokerRefused, InspectorError

CONNECT_TIMEOUT_S: Final = 5.0
ANSWER_TIMEOUT_S: Final = 10.0
_TICK_S: Final = 1.0
_SIGN_OF_LIFE: Final = "inspector/sign-of-life"


class Listener(Protocol):
    """What a connection tells, on the loop's thread; none of it may raise."""

    def connected(self, connection: Connection, session_present: bool) -> None:
        """The broker said yes; comes before any message of this connection."""

    def received(self, connection: Connection, message: Message) -> None:
        """A message; acknowledging it is the listener's business."""


class Connection:
    """Opened once, lost once. `lost` ends with the reason as soon as the socket is gone."""

    def __init__(self, settings: MqttSection, role: Role, password: str | None, listener: Listener) -> None:
        self._settings = settings
        self._role = role
        self._listener = listener
        self._is_five = settings.protocol == "5"
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[InspectorError] = self._loop.create_future()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._replies: dict[int, asyncio.Future[bool]] = {}
        self._socket_fd: int | None = None
        self._reading = True
        self._is_behind = False
        self._is_in_callback = False
        self._sign: tuple[int, float] | None = None
        self._last_read_s = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._client = new_client(settings, role, password)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.on_publish = self._on_publish
        self._client.on_subscribe = self._on_subscribe
        self._client.on_unsubscribe = self._on_unsubscribe
        self._client.on_socket_close = self._on_socket_close
        self._client.on_socket_register_write = self._on_register_write
        self._client.on_socket_unregister_write = self._on_unregister_write

    # --- life ---

    async def open(self) -> None:
        """Connected when it returns. Raises BrokerUnavailable or BrokerRefused; the connection is lost then."""
        is_up = False
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S + 1):
                await self._open_socket()
                self._attach()
                await self._opened
            is_up = True
        except TimeoutError:
            raise broken_link(self.address, "it did not answer in time") from None
        finally:
            if not is_up:
                self.abort("given up while connecting")

    async def close(self) -> None:
        """Say goodbye so that everything sent before has reached the broker. A session kept there stays."""
        if self.is_open and await self.round_trip(1.0) is not None:
            self._client.disconnect()
            self._flush()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await asyncio.shield(self.lost)
        self.abort()

    def abort(self, reason: str = "closed here") -> None:
        """Gone at once: what our side has not yet sent, kernel included, never leaves."""
        sock = self._client.socket()
        if sock is not None:
            with contextlib.suppress(OSError):
                _as_socket(sock).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._end(broken_link(self.address, reason))

    @property
    def is_open(self) -> bool:
        return self._socket_fd is not None and not self.lost.done()

    @property
    def address(self) -> str:
        return f"{self._settings.host}:{self._settings.port}"

    @property
    def unsent_bytes(self) -> int:
        """Bytes that have not reached the broker's machine: paho's queue counts as one, the kernel's exactly."""
        if self._socket_fd is None:
            return 0
        queued = fcntl.ioctl(self._socket_fd, termios.TIOCOUTQ, b"\0" * 4)
        return int(struct.unpack("i", queued)[0]) + int(self._client.want_write())

    # --- sending ---

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        properties: Iterable[tuple[str, str]] = (),
        expiry_s: int | None = None,
    ) -> asyncio.Future[bool]:
        """Sent once with QoS 1. The answer is True at the PUBACK, False when refused or the link is lost first."""
        packet_id = self._publish(topic, payload, 1, retain, publish_properties(properties, expiry_s))
        answer = self._reply(packet_id)
        self._flush()
        return answer

    def send(self, topic: str, payload: bytes, properties: Iterable[tuple[str, str]] = ()) -> None:
        """Sent once with QoS 0, if at all."""
        self._publish(topic, payload, 0, False, publish_properties(properties, None))
        self._flush()

    async def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribed with QoS 1 when it returns. Raises BrokerRefused where one isn't allowed, or BrokerUnavailable."""
        outcome, packet_id = self._client.subscribe([(each, 1) for each in filters])
        answer = self._reply(packet_id if outcome == MQTTErrorCode.MQTT_ERR_SUCCESS else None)
        self._flush()
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                is_granted = await answer
        except TimeoutError:
            raise broken_link(self.address, "it does not answer a subscription") from None
        if self.lost.done():
            raise broken_link(self.address, "lost while subscribing")
        if not is_granted:
            raise BrokerRefused(
                f"The broker at {self.address} does not let {self._role.client_id} subscribe to {', '.join(filters)}."
            )

    def unsubscribe(self, topic_filter: str) -> None:
        """Asked for, not waited for."""
        self._client.unsubscribe(topic_filter)
        self._flush()

    def acknowledge(self, packet_id: int) -> None:
        """Send the PUBACK of one message; the order is the caller's."""
        self._client.ack(packet_id, 1)

    async def round_trip(self, timeout_s: float) -> float | None:
        """Milliseconds until the broker had handled everything sent before; None without an answer in time.

        Reads on meanwhile: what was waiting in the socket is handed to the listener.
        """
        self.set_reading(True)
        started_s = self._loop.time()
        _, packet_id = self._client.unsubscribe(_SIGN_OF_LIFE)
        answer = self._reply(packet_id)
        self._flush()
        try:
            async with asyncio.timeout(timeout_s):
                await answer
        except TimeoutError:
            return None
        return None if self.lost.done() else (self._loop.time() - started_s) * 1000

    # --- reading ---

    def set_reading(self, wanted: bool) -> None:
        """Whether the socket is read. While it is not, the broker's window fills up and nothing more is taken."""
        if wanted == self._reading or self._socket_fd is None:
            return
        self._reading = wanted
        if wanted:
            self._last_read_s = self._loop.time()
            self._loop.add_reader(self._socket_fd, self._on_readable)
            # TLS may hold decrypted bytes that the kernel no longer announces.
            self._loop.call_soon(self._on_readable)
        else:
            self._is_behind = True
            self._loop.remove_reader(self._socket_fd)

    def _on_readable(self) -> None:
        if not self._reading or self._socket_fd is None:
            return
        self._last_read_s = self._loop.time()
        self._is_in_callback = True
        try:
            outcome = self._client.loop_read()
            while outcome == MQTTErrorCode.MQTT_ERR_SUCCESS and self._reading and self._has_decrypted():
                outcome = self._client.loop_read()
        except (OSError, ValueError, MQTTException) as error:
            self._end(broken_link(self.address, str(error)))
        finally:
            self._is_in_callback = False

    def _has_decrypted(self) -> bool:
        sock = self._client.socket()
        return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0

    # --- paho's callbacks ---

    def _on_connect(
        self, _client: paho.Client, _userdata: Any, flags: paho.ConnectFlags, reason: ReasonCode, _properties: Any
    ) -> None:
        if self._opened.done():
            return
        if reason.is_failure:
            self._opened.set_exception(refused(self.address, self._role.client_id, reason))
            return
        self._opened.set_result(None)
        self._listener.connected(self, flags.session_present)

    def _on_disconnect(
        self, _client: paho.Client, _userdata: Any, flags: paho.DisconnectFlags, reason: ReasonCode, _properties: Any
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self._end(refused(self.address, self._role.client_id, reason))
        elif not self._opened.done() and reason.getName() == "Protocol error":
            self._end(refused(self.address, self._role.client_id, ReasonCode(PacketTypes.CONNACK, identifier=132)))
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
        self._answer(mid, not reason.is_failure)

    def _on_subscribe(
        self, _client: paho.Client, _userdata: Any, mid: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        self._answer(mid, not any(reason.is_failure for reason in reasons))

    def _on_unsubscribe(
        self, _client: paho.Client, _userdata: Any, mid: int, _reasons: list[ReasonCode], _properties: Any
    ) -> None:
        self._answer(mid, True)
        if self._sign is not None and self._sign[0] == mid:
            # Everything the broker sent before this answer has been read, a PINGRESP included.
            self._sign = None
            self._is_behind = not self._reading

    def _on_register_write(self, _client: paho.Client, _userdata: Any, _sock: Any) -> None:
        if self._socket_fd is not None:  # None while the connecting thread still owns the client
            self._loop.add_writer(self._socket_fd, self._client.loop_write)

    def _on_unregister_write(self, _client: paho.Client, _userdata: Any, _sock: Any) -> None:
        if self._socket_fd is not None:
            self._loop.remove_writer(self._socket_fd)

    def _on_socket_close(self, _client: paho.Client, _userdata: Any, _sock: Any) -> None:
        if self._socket_fd is not None:
            self._loop.remove_reader(self._socket_fd)
            self._loop.remove_writer(self._socket_fd)
            self._socket_fd = None

    # --- inside ---

    async def _open_socket(self) -> None:
        opening = run_on_thread(self._connect_blocking, abandoned=self._drop_socket)
        try:
            await asyncio.wrap_future(opening)
        except ssl.SSLCertVerificationError as error:
            raise BrokerRefused(
                f"The certificate of the broker at {self.address} is not trusted ({error.verify_message}); "
                "check mqtt.ca_file and that mqtt.host is the name in the certificate."
            ) from error
        except ssl.SSLError as error:
            raise BrokerRefused(f"The broker at {self.address} does not agree on TLS: {error.reason}.") from error
        except OSError as error:
            raise broken_link(self.address, error.strerror or str(error)) from error

    def _connect_blocking(self) -> None:
        role, five = self._role, self._is_five
        self._client.connect_timeout = CONNECT_TIMEOUT_S
        self._client.connect(
            self._settings.host,
            self._settings.port,
            keepalive=self._settings.keepalive_s,
            clean_start=not role.persistent if five else paho.MQTT_CLEAN_START_FIRST_ONLY,
            properties=connect_properties(self._settings, role) if five else None,
        )

    def _drop_socket(self) -> None:
        sock = self._client.socket()
        if sock is not None:
            sock.close()

    def _attach(self) -> None:
        sock = self._client.socket()
        if sock is None:
            raise broken_link(self.address, "closed while connecting")
        # Decisions and acknowledgements are small and alone; Nagle's algorithm would hold them back.
        _as_socket(sock).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket_fd = sock.fileno()
        self._loop.add_reader(self._socket_fd, self._on_readable)
        self._loop.add_writer(self._socket_fd, self._client.loop_write)
        self._timer = self._loop.call_later(_TICK_S, self._tick)

    def _tick(self) -> None:
        if not self.is_open:
            return
        self._timer = self._loop.call_later(_TICK_S, self._tick)
        if not self._is_behind:
            self._client.loop_misc()
            return
        # paho takes an unread PINGRESP for a dead broker, so while we are behind it is not asked.
        # An UNSUBSCRIBE of nothing keeps the broker content, and its answer says that we caught up.
        now_s = self._loop.time()
        keepalive_s = self._settings.keepalive_s
        if self._sign is None or now_s - self._sign[1] >= keepalive_s / 2:
            _, packet_id = self._client.unsubscribe(_SIGN_OF_LIFE)
            self._sign = (packet_id or 0, now_s)
        if self._reading and now_s - self._last_read_s > 2 * keepalive_s:
            self.abort("it does not answer any more")

    def _publish(self, topic: str, payload: bytes, qos: int, retain: bool, properties: Properties | None) -> int | None:
        """The packet id of what paho took, or None."""
        if not self.is_open:
            return None
        sent = self._client.publish(topic, payload, qos, retain, properties if self._is_five else None)
        return sent.mid if sent.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def _flush(self) -> None:
        """Write now rather than at the loop's next turn: a decision's window is counted in milliseconds."""
        # Inside a callback paho holds a lock that writing a QoS 0 message takes again.
        if self._socket_fd is not None and self._client.want_write() and not self._is_in_callback:
            self._client.loop_write()

    def _reply(self, packet_id: int | None) -> asyncio.Future[bool]:
        """Becomes the broker's answer to a packet; False at once for one that was not sent."""
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

    def _end(self, reason: InspectorError) -> None:
        """Lost, with every open question answered; only the first reason counts."""
        if self.lost.done():
            return
        self.lost.set_result(reason)
        if self._timer is not None:
            self._timer.cancel()
        if not self._opened.done():
            self._opened.set_exception(reason)
            self._opened.exception()  # seen: `open` may have given up waiting for it
        for packet_id in list(self._replies):
            self._answer(packet_id, False)
        sock = self._client.socket()
        if sock is not None:
            self._on_socket_close(self._client, None, sock)
            sock.close()


def _as_socket(sock: Any) -> socket.socket:
    if not isinstance(sock, socket.socket):
        raise TypeError("only plain TCP and TLS sockets are used here")
    return sock
