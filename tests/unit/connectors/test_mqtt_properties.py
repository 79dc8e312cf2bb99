"""Texts of MQTT 5 properties are taken as they come; only a packet that contradicts itself is refused."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from paho.mqtt import MQTTException
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from connectors.mqtt.wire.client import metadata_of
from connectors.mqtt.wire.properties import STRICT_READING, ensure_texts_are_taken
from inspector.stream.envelope import plain_properties

USER_PROPERTY = 38
CONTENT_TYPE = 3


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    ensure_texts_are_taken()
    yield
    Properties.readProperty = STRICT_READING  # type: ignore[method-assign]  # as paho has it


def packed(*pairs: tuple[bytes, bytes], content_type: bytes | None = None) -> bytes:
    body = b"" if content_type is None else bytes([CONTENT_TYPE]) + _text(content_type)
    body += b"".join(bytes([USER_PROPERTY]) + _text(name) + _text(value) for name, value in pairs)
    assert len(body) < 128
    return bytes([len(body)]) + body


def _text(content: bytes) -> bytes:
    return struct.pack("!H", len(content)) + content


def unpacked(packet: bytes) -> dict[str, str]:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # untyped in paho
    properties.unpack(packet)  # type: ignore[no-untyped-call]  # untyped in paho
    return plain_properties(metadata_of(properties))


@pytest.mark.parametrize("odd", [b"\x00", b"\xff\xfe\x80", b"\xef\xbb\xbf", b"\xed\xa0\x80", b""])
def test_properties_odd_texts_of_foreign_names_leave_ours_readable(odd: bytes) -> None:
    properties = unpacked(packed((odd, b"x"), (b"serial", odd), (b"Trigger-Id", b"4711"), content_type=b"image/png"))
    ours = {name: value for name, value in properties.items() if name not in ("serial", "\ufeff")}
    assert ours == {"content-type": "image/png", "trigger-id": "4711"}


def test_properties_bytes_under_our_name_are_its_fault_alone() -> None:
    properties = unpacked(packed((b"part-id", b"\xff\x01"), (b"trigger-id", b"4711")))
    assert properties == {"trigger-id": "4711", "x-property-fault": "part-id has control characters"}


@pytest.mark.parametrize("short", [1, 3, 4])
def test_properties_text_past_the_end_is_refused(short: int) -> None:
    whole = packed((b"a", b"b"))
    with pytest.raises((MQTTException, IndexError, struct.error)):
        unpacked(bytes([len(whole) - 1 - short]) + whole[1:-short])
