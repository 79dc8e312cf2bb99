"""Makes paho client objects from the configuration, and defines the part of paho's messages that this package uses.

`connection` keeps the connection. paho's types stay in these two modules and `refusal`.
"""

from __future__ import annotations

import concurrent.futures
import ssl
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from connectors.mqtt.wire.properties import ensure_texts_are_taken
from inspector.config.broker_sections import MqttSection
from inspector.errors import BrokerRefused


@dataclass(frozen=True, slots=True)
class Will:
    """The message that the broker publishes if the connection ends without a goodbye. Retained, QoS 1."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Role:
    """A client's identity at the broker. `receive_maximum` is sent on MQTT 5; None sends none."""

    client_id: str
    persistent: bool = False
    receive_maximum: int | None = None
    will: Will | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One received PUBLISH. `packet_id` is 0 for QoS 0; `topic` is None if it is not UTF-8."""

    topic: str | None
    payload: bytes
    packet_id: int
    is_duplicate: bool
    is_retained: bool
    properties: tuple[tuple[str, str], ...]


def new_client(settings: MqttSection, role: Role, password: str | None) -> paho.Client:
    """A client that is not connected and has no callbacks. Raises BrokerRefused if the TLS files can't be used."""
    ensure_texts_are_taken()
    five = settings.protocol == "5"
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=role.client_id,
        clean_session=None if five else not role.persistent,
        protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
        reconnect_on_failure=False,
        manual_ack=True,
    )
    client.max_inflight_messages = 0  # each user of a connection keeps its own bound
    if settings.username is not None:
        client.username_pw_set(settings.username, password)
    if settings.tls:
        client.tls_set_context(_tls_context(settings))
    if role.will is not None:
        client.will_set(role.will.topic, role.will.payload, qos=1, retain=True)
    return client


class _ClosingSocket(ssl.SSLSocket):
    """A socket that closes itself if the handshake fails; paho would leave that to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def _tls_context(settings: MqttSection) -> ssl.SSLContext:
    try:
        for file in (settings.ca_file, settings.cert_file, settings.key_file):
            if file is not None and not file.is_file():
                raise BrokerRefused(f"The TLS files of the section mqtt can't be used: there is no file {file}.")
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.cert_file is not None:
            context.load_cert_chain(settings.cert_file, settings.key_file)
    except OSError as error:
        raise BrokerRefused(f"The TLS files of the section mqtt can't be used: {error.strerror or error}.") from error
    context.sslsocket_class = _ClosingSocket
    return context


def connect_properties(settings: MqttSection, role: Role) -> Properties:
    """Properties of an MQTT 5 CONNECT: how long the session lasts, and how many messages may be in flight."""
    properties = new_properties(PacketTypes.CONNECT)
    if role.persistent:
        properties.SessionExpiryInterval = settings.session_expiry_s
    if role.receive_maximum is not None:
        properties.ReceiveMaximum = role.receive_maximum
    return properties


def metadata_of(properties: Properties | None) -> tuple[tuple[str, str], ...]:
    """The user properties of a message, and its content type as `content-type`."""
    if properties is None:
        return ()
    pairs = [(str(name), str(value)) for name, value in getattr(properties, "UserProperty", ())]
    content_type = getattr(properties, "ContentType", None)
    if content_type is not None:
        pairs.insert(0, ("content-type", str(content_type)))
    return tuple(pairs)


def run_on_thread(work: Callable[[], None], abandoned: Callable[[], None]) -> concurrent.futures.Future[None]:
    """Run blocking work on its own daemon thread, so that a shutdown need not wait for a dead network.

    If the work ends after it was cancelled, `abandoned` runs on that thread.
    """
    outcome: concurrent.futures.Future[None] = concurrent.futures.Future()

    def run() -> None:
        try:
            try:
                work()
            except (OSError, ValueError) as error:
                outcome.set_exception(error)
            else:
                outcome.set_result(None)
        except concurrent.futures.InvalidStateError:  # cancelled meanwhile
            abandoned()

    threading.Thread(target=run, name="mqtt-connect", daemon=True).start()
    return outcome


def publish_properties(pairs: Iterable[tuple[str, str]], expiry_s: int | None) -> Properties | None:
    """User properties and message expiry of one PUBLISH on MQTT 5; None if there are none."""
    named = list(pairs)
    if not named and expiry_s is None:
        return None
    properties = new_properties(PacketTypes.PUBLISH)
    if named:
        properties.UserProperty = named
    if expiry_s is not None:
        properties.MessageExpiryInterval = expiry_s
    return properties


def new_properties(packet_type: int) -> Properties:
    """An empty property list of one packet type."""
    return Properties(packet_type)  # type: ignore[no-untyped-call]  # paho left its constructor untyped
