"""What stands around an image in a message: metadata made plain, JSON opened, nothing lost.

Pure, and knows no broker: MQTT user properties, Kafka headers and JSON keys all end here, under the
contract's header names. A message whose metadata or JSON can't be used keeps its payload untouched
and gets the property `x-property-fault` with the reason, so that the road can make an unjudged
verdict of it instead of losing the frame. A camera can't set that property itself.
"""

from __future__ import annotations

import base64
import binascii
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import orjson

PROPERTY_FAULT: Final = "x-property-fault"
"""Name of the property that says why a message's metadata can't be used."""

MOST_PROPERTIES: Final = 32
LONGEST_PROPERTY_BYTES: Final = 1024
"""Bound of a name and of a value, each, in UTF-8."""

_UNFIT: Final = frozenset({"Cc", "Cs"})  # control characters and lone surrogates break logs, SQL and UTF-8
_IMAGE_KEY: Final = "image"
_TRIGGER: Final = "trigger-id"
_METADATA_BYTES: Final = 64 * 1024
"""Room of a JSON form for what is not the image."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message opened: the image's bytes and the metadata under the contract's names, lower case."""

    payload: bytes
    properties: Mapping[str, str]


def open_envelope(
    payload: bytes,
    pairs: Iterable[tuple[str, str]],
    *,
    is_json: bool,
    most_bytes: int | None = None,
    topic_trigger: str | None = None,
    fault: str | None = None,
) -> Envelope:
    """The message as the road wants it. Never raises: what is wrong stands in `x-property-fault`.

    `pairs` are the metadata as they came; where a name comes twice the last one counts, a key of the
    JSON form before a property, and `topic_trigger` (for cameras whose topic ends in it) before both.
    `fault` is what the connector already knows to be wrong with the metadata. JSON that can't be an image
    of at most `most_bytes` is not opened: read into objects it may be twenty times its size.
    """
    named = list(pairs)
    if is_json:
        is_too_large = most_bytes is not None and len(payload) > most_bytes * 4 // 3 + _METADATA_BYTES
        opened = f"JSON of {len(payload)} bytes, too large" if is_too_large else _open_json(payload)
        if isinstance(opened, str):
            return _closed(payload, named, opened)
        payload, keys = opened
        named += keys
    if topic_trigger is not None:
        named.append((_TRIGGER, topic_trigger))
    properties = plain_properties(named)
    if fault is not None:
        properties[PROPERTY_FAULT] = fault
    return Envelope(payload, properties)


def plain_properties(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Metadata by lower-case name, the last of equal names, bounded in number and length.

    The first name or value that is absurd (too long, a control character, too many) is told in
    `x-property-fault`; what could be kept is kept beside it.
    """
    kept: dict[str, str] = {}
    fault: str | None = None
    for raw_name, value in pairs:
        name = raw_name.lower()
        if name == PROPERTY_FAULT:
            continue
        wrong = _wrong_with(name, value)
        if wrong is None and name not in kept and len(kept) == MOST_PROPERTIES:
            wrong = f"more than {MOST_PROPERTIES} properties"
        if wrong is None:
            kept[name] = value
        elif fault is None:
            fault = wrong
    if fault is not None:
        kept[PROPERTY_FAULT] = fault
    return kept


def last_topic_level(topic: str) -> str | None:
    """What stands behind the last slash, or None where nothing does."""
    return topic.rpartition("/")[2] or None


def _open_json(payload: bytes) -> tuple[bytes, list[tuple[str, str]]] | str:
    """The image's bytes and the other keys as properties, or one phrase that says what is wrong."""
    try:
        table = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        return f"not valid JSON: {error.msg}"
    if not isinstance(table, dict):
        return "the JSON is not an object"
    image = table.pop(_IMAGE_KEY, None)
    if not isinstance(image, str):
        return "the JSON has no text under the key image"
    try:
        content = base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError):
        return "the JSON's image is not valid base64"
    pairs: list[tuple[str, str]] = []
    for key, value in table.items():
        if isinstance(value, dict | list):
            return "the JSON has a key that is neither text nor a number"
        if value is not None:
            pairs.append((key.replace("_", "-"), _as_text(value)))
    return content, pairs


def _as_text(value: str | int | float | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _closed(payload: bytes, pairs: list[tuple[str, str]], fault: str) -> Envelope:
    properties = plain_properties(pairs)
    properties[PROPERTY_FAULT] = fault
    return Envelope(payload, properties)


def _wrong_with(name: str, value: str) -> str | None:
    """Why this one can't be kept, in words that repeat nothing of it; None where it can."""
    if not name:
        return "a property without a name"
    for what, text in (("name", name), ("value", value)):
        # Text may hold lone surrogates (JSON can spell them); they have no UTF-8 form.
        if len(text.encode("utf-8", "surrogatepass")) > LONGEST_PROPERTY_BYTES:
            return f"a property {what} longer than {LONGEST_PROPERTY_BYTES} bytes"
        if any(unicodedata.category(character) in _UNFIT for character in text):
            return f"a property {what} with control characters"
    return None
