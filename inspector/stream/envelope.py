"""Reads the image and its metadata from a message, in whichever form the camera sent them.

Pure, and independent of brokers: MQTT user properties, Kafka headers and JSON keys are all mapped to the contract's
header names. Only the contract's names are checked; names that other systems add are no fault of the frame. If one of
the contract's names has an unusable value, or the JSON holds no image, the message gets the property
`x-property-fault` with the reason, and keeps everything that could be read. The road then makes an unjudged verdict,
and the gate still gets a decision about the part. A camera can't set `x-property-fault` itself.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import contextlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

import orjson

from inspector.stream.json_members import Members, text_of

PROPERTY_FAULT: Final = "x-property-fault"
"""Name of the property that says why a message's metadata can't be used."""

OWN_NAMES: Final = frozenset(
    {"frame-id", "trigger-id", "part-id", "captured-at", "product", "content-type", "simulated"}
)
"""The names of the contract. Other names are foreign; foreign names are kept for dead letters while there is room."""

MOST_FOREIGN: Final = 32
MOST_PROPERTIES: Final = MOST_FOREIGN + len(OWN_NAMES)
LONGEST_PROPERTY_BYTES: Final = 1024
"""Most bytes of a name, and of a value, in UTF-8."""

Value = str | bytes
"""A value as received; bytes should be UTF-8."""

_TOO_LONG: Final = f"is longer than {LONGEST_PROPERTY_BYTES} bytes"
_LINE_BREAKS: Final = b" \t\r\n\f\v"
_UNFIT: Final = frozenset({"Cc", "Cs"})  # control characters and lone surrogates break logs, SQL and UTF-8
_IMAGE_KEY: Final = "image"
_TRIGGER: Final = "trigger-id"
_METADATA_BYTES: Final = 64 * 1024
"""Most bytes of a JSON message beside its image."""

_DATA_URI: Final = re.compile(rb"data:([^,]{0,1024}),", re.IGNORECASE)
_IN_BASE64: Final = re.compile(rb";[ \t]*base64[ \t]*\Z", re.IGNORECASE)
_PLAIN_IMAGES: Final = ((b"\xff\xd8\xff", "a JPEG"), (b"\x89PNG\r\n\x1a\n", "a PNG"))
_TO_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_MOST_EXACT: Final = 2.0**53
"""Largest number up to which a whole number that a JSON writer turned into a float (4711.0) is still exact."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """An opened message: the image's bytes, and the metadata under the contract's names in lower case."""

    payload: bytes
    properties: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Opened:
    """The content of a message's JSON form. `image` None: no image could be read, and `fault` says why."""

    image: bytes | None
    pairs: list[tuple[str, Value]]
    fault: str | None


def open_envelope(
    payload: bytes,
    pairs: Iterable[tuple[str, Value]],
    *,
    is_json: bool,
    most_bytes: int | None = None,
    topic_trigger: str | None = None,
    fault: str | None = None,
) -> Envelope:
    """Open a message. Never raises: `x-property-fault` says what is wrong with it.

    `pairs` are the metadata as received. If a name comes twice, the last value counts. A key of the JSON form
    overrides a property, and `topic_trigger` (for cameras whose topic ends in the trigger id) overrides both.
    `fault` is a fault of the metadata that the connector has already found. An image of the JSON form that must
    be larger than `most_bytes` is not decoded. Without an image the payload stays as received.
    """
    named = list(pairs)
    if is_json:
        opened = _open_json(payload, most_bytes)
        fault = fault or opened.fault
        payload = payload if opened.image is None else opened.image
        named += opened.pairs
    if topic_trigger is not None:
        named.append((_TRIGGER, topic_trigger))
    properties = plain_properties(named)
    if fault is not None:
        properties[PROPERTY_FAULT] = fault
    return Envelope(payload, properties)


def plain_properties(pairs: Iterable[tuple[str, Value]]) -> dict[str, str]:
    """Metadata by lower-case name, the last usable one of equal names, bounded in number and length.

    `x-property-fault` names the first of the contract's names whose value is unusable (too long, not UTF-8, control
    characters). Foreign names are kept while there is room; the rest are left out without a fault.
    """
    kept: dict[str, str] = {}
    foreign = 0
    fault: str | None = None
    for raw_name, raw_value in pairs:
        name = raw_name.lower()
        if name == PROPERTY_FAULT:
            continue
        value, wrong = _plain(raw_value)
        if name in OWN_NAMES:
            if wrong is None:
                kept[name] = value
            elif fault is None:
                fault = f"{name} {wrong}"
        elif wrong is None and _is_fit_name(name) and (name in kept or foreign < MOST_FOREIGN):
            foreign += name not in kept
            kept[name] = value
    if fault is not None:
        kept[PROPERTY_FAULT] = fault
    return kept


def last_topic_level(topic: str) -> str | None:
    """The last level of a topic, after its last slash; None if that level is empty."""
    return topic.rpartition("/")[2] or None


def _open_json(payload: bytes, most_bytes: int | None) -> _Opened:
    """The image and the other keys of the JSON form, as much of them as can be read."""
    for start, kind in _PLAIN_IMAGES:
        if payload.startswith(start):
            return _Opened(None, [], f"not JSON but {kind}: the camera sends images, and its encoding says json")
    source = _as_utf8(payload)
    if most_bytes is not None and len(source) > most_bytes * 3 // 2 + _METADATA_BYTES:  # line breaks take room too
        # Read into objects it may be twenty times its size.
        return _sorted_out(_scanned(Members(source)), f"JSON of {len(payload)} bytes, too large")
    try:
        table = orjson.loads(source)
    except orjson.JSONDecodeError as error:
        members = Members(source)
        pairs = _scanned(members)
        return _sorted_out(pairs, None if members.is_whole else f"not valid JSON: {error.msg}")
    if not isinstance(table, dict):
        return _Opened(None, [], "the JSON is not an object")
    return _sorted_out(list(table.items()), None)


def _scanned(members: Members) -> list[tuple[str, object]]:
    """Members as a strict parser returns them. A value that it would refuse stays bytes; nested values become `{}`."""
    pairs: list[tuple[str, object]] = []
    for key, raw in members:
        value: object = raw
        if raw[:1] == b'"':
            value = raw[1:-1] if b"\\" not in raw else text_of(raw) or raw
        elif raw[:1] in (b"{", b"["):
            value = {}
        else:
            with contextlib.suppress(orjson.JSONDecodeError):
                value = orjson.loads(raw)
        pairs.append((key, value))
    return pairs


def _sorted_out(members: list[tuple[str, object]], fault: str | None) -> _Opened:
    """Keys under the contract's names, and the image. With a `fault` the image is not decoded."""
    encoded: object = None
    pairs: list[tuple[str, Value]] = []
    nested: str | None = None
    for key, value in members:
        name = key.replace("_", "-").lower()
        if name == _IMAGE_KEY:
            encoded = value
        elif isinstance(value, dict | list):
            if name in OWN_NAMES:
                nested = nested or f"{name} is neither text nor a number"
        elif value is not None:
            pairs.append((name, _as_text(value)))
    if fault is not None:
        return _Opened(None, pairs, fault)
    image = _decoded(encoded)
    if isinstance(image, str):
        return _Opened(None, pairs, image)
    return _Opened(image, pairs, nested)


def _decoded(encoded: object) -> bytes | str:
    """The image's bytes, or one phrase that says what is wrong.

    The text is Base64 in either alphabet, with or without padding or line breaks, or a data URI of such text.
    """
    if not isinstance(encoded, str | bytes):
        return "the JSON has no text under the key image"
    text = encoded.encode("utf-8", "surrogatepass") if isinstance(encoded, str) else encoded
    text = text.lstrip()
    if (uri := _DATA_URI.match(text)) is not None:
        if not _IN_BASE64.search(uri[1]):
            return "the JSON's image is a data URI without base64"
        text = text[uri.end() :]
        text = unquote_to_bytes(text) if b"%" in text else text
    text = text.translate(_TO_STANDARD, _LINE_BREAKS).rstrip(b"=")
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return "the JSON's image is not valid base64"


def _as_utf8(payload: bytes) -> bytes:
    """JSON without its byte order mark; UTF-16 and UTF-32, which some Windows programs write, as UTF-8."""
    encoding = json.detect_encoding(payload)  # by the mark, else by where its first characters have zeros
    if encoding.startswith("utf-8"):
        return payload.removeprefix(codecs.BOM_UTF8)
    return payload.decode(encoding, "replace").encode()


def _as_text(value: object) -> Value:
    if isinstance(value, str | bytes):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) <= _MOST_EXACT:
        return str(int(value))
    return str(value)


def _plain(value: Value) -> tuple[str, str | None]:
    """The value as text, and the reason why it can't be kept (None if it can). The reason never quotes the value."""
    if len(value) > LONGEST_PROPERTY_BYTES:
        return "", _TOO_LONG
    try:
        text = value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        return "", "is not UTF-8"
    # Text may hold lone surrogates (JSON can spell them); they have no UTF-8 form.
    if len(text.encode("utf-8", "surrogatepass")) > LONGEST_PROPERTY_BYTES:
        return "", _TOO_LONG
    if any(unicodedata.category(character) in _UNFIT for character in text):
        return "", "has control characters"
    return text, None


def _is_fit_name(name: str) -> bool:
    return bool(name) and _plain(name)[1] is None
