"""Metadata and JSON opened: a message is never lost, whatever stands around its image."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.stream.envelope import (
    LONGEST_PROPERTY_BYTES,
    MOST_PROPERTIES,
    PROPERTY_FAULT,
    last_topic_level,
    open_envelope,
    plain_properties,
)

IMAGE = b"\x89PNG and the rest"


def as_json(**keys: Any) -> bytes:
    return json.dumps({"image": base64.b64encode(IMAGE).decode(), **keys}).encode()


def test_plain_properties_equal_names_keep_the_last_in_lower_case() -> None:
    assert plain_properties([("Trigger-Id", "1"), ("trigger-id", "2")]) == {"trigger-id": "2"}


@pytest.mark.parametrize(
    ("pairs", "fault"),
    [
        ([("a", "x" * (LONGEST_PROPERTY_BYTES + 1))], "a property value longer than 1024 bytes"),
        ([("ä" * 513, "x")], "a property name longer than 1024 bytes"),
        ([("a", "1\n2")], "a property value with control characters"),
        ([("a\x7f", "1")], "a property name with control characters"),
        ([("", "1")], "a property without a name"),
        ([(f"k{n}", "1") for n in range(MOST_PROPERTIES + 1)], "more than 32 properties"),
    ],
)
def test_plain_properties_absurd_one_is_told_and_not_kept(pairs: list[tuple[str, str]], fault: str) -> None:
    plain = plain_properties([*pairs, ("a", "good")])
    assert plain.pop(PROPERTY_FAULT) == fault
    assert len(plain) <= MOST_PROPERTIES


def test_plain_properties_fault_from_outside_is_ignored() -> None:
    assert plain_properties([("X-Property-Fault", "mine"), ("a", "b")]) == {"a": "b"}


def test_open_envelope_image_keeps_payload_and_properties() -> None:
    envelope = open_envelope(IMAGE, [("part-id", "7")], is_json=False)
    assert (envelope.payload, envelope.properties) == (IMAGE, {"part-id": "7"})


def test_open_envelope_topic_trigger_replaces_the_property() -> None:
    envelope = open_envelope(IMAGE, [("trigger-id", "7")], is_json=False, topic_trigger="4711")
    assert envelope.properties == {"trigger-id": "4711"}


def test_open_envelope_json_gives_image_and_dashed_keys() -> None:
    envelope = open_envelope(
        as_json(trigger_id=4711, part_id="p", simulated=True, product=None), [("trigger-id", "1")], is_json=True
    )
    assert envelope.payload == IMAGE
    assert envelope.properties == {"trigger-id": "4711", "part-id": "p", "simulated": "true"}


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (b"{", "not valid JSON"),
        (b"\xff\xd8\xff", "not valid JSON"),
        (b"[1]", "not an object"),
        (b"{}", "no text under the key image"),
        (b'{"image": 7}', "no text under the key image"),
        (b'{"image": "***"}', "not valid base64"),
        (b'{"image": "\xc3\xa4"}', "not valid base64"),
        (b'{"image": "AAAA", "part_id": {"a": 1}}', "neither text nor a number"),
    ],
)
def test_open_envelope_bad_json_keeps_payload_and_says_why(payload: bytes, fault: str) -> None:
    envelope = open_envelope(payload, [("part-id", "7")], is_json=True)
    assert envelope.payload == payload
    assert fault in envelope.properties[PROPERTY_FAULT]
    assert envelope.properties["part-id"] == "7"


@pytest.mark.parametrize(("topic", "level"), [("cam2/frame/4711", "4711"), ("cam2/frame/", None), ("7", "7")])
def test_last_topic_level_is_what_stands_behind_the_last_slash(topic: str, level: str | None) -> None:
    assert last_topic_level(topic) == level


@given(
    payload=st.binary() | st.builds(json.dumps, st.dictionaries(st.text(), st.text() | st.integers())).map(str.encode),
    pairs=st.lists(st.tuples(st.text(), st.text())),
    is_json=st.booleans(),
    trigger=st.none() | st.text(),
)
def test_open_envelope_anything_is_opened_or_kept_whole(
    payload: bytes, pairs: list[tuple[str, str]], is_json: bool, trigger: str | None
) -> None:
    envelope = open_envelope(payload, pairs, is_json=is_json, topic_trigger=trigger)
    assert is_json or envelope.payload == payload
    assert PROPERTY_FAULT not in envelope.properties or envelope.payload == payload or is_json
    assert len(envelope.properties) <= MOST_PROPERTIES + 1
    for name, value in envelope.properties.items():
        assert name == name.lower()
        assert len(value.encode()) <= LONGEST_PROPERTY_BYTES


@given(image=st.binary(), keys=st.dictionaries(st.sampled_from(["part_id", "frame_id"]), st.text("abc123")))
def test_open_envelope_json_round_trip_returns_the_image(image: bytes, keys: dict[str, str]) -> None:
    payload = json.dumps({"image": base64.b64encode(image).decode(), **keys}).encode()
    envelope = open_envelope(payload, [], is_json=True)
    assert envelope.payload == image
    assert envelope.properties == {name.replace("_", "-"): value for name, value in keys.items()}
