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
from inspector.stream.json_members import MOST_BRACKETS, Members

IMAGE = b"\x89PNG and the rest \xff\xfe\xfb\xef\xbf\xbe\x00"


def as_json(**keys: Any) -> bytes:
    return json.dumps({"image": base64.b64encode(IMAGE).decode(), **keys}).encode()


def test_plain_properties_equal_names_keep_the_last_in_lower_case() -> None:
    assert plain_properties([("Trigger-Id", "1"), ("trigger-id", "2")]) == {"trigger-id": "2"}


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("x" * (LONGEST_PROPERTY_BYTES + 1), "is longer than 1024 bytes"),
        ("ä" * 513, "is longer than 1024 bytes"),
        ("1\n2", "has control characters"),
        ("1\ud800", "has control characters"),
        (b"\xff\xfe", "is not UTF-8"),
    ],
)
def test_plain_properties_bad_value_of_our_name_is_told_and_the_rest_kept(value: str | bytes, fault: str) -> None:
    plain = plain_properties([("Part-Id", value), ("trigger-id", "7"), ("frame-id", b"f1")])
    assert plain == {"trigger-id": "7", "frame-id": "f1", PROPERTY_FAULT: f"part-id {fault}"}


@pytest.mark.parametrize(
    "foreign",
    [
        [("traceparent", b"\x00\xff\x80")],
        [("a", "x" * 100_000)],
        [("ä" * 513, "x")],
        [("a\x7f", "1"), ("b", "1\n2"), ("", "1"), ("c", "\ud800")],
        [(f"k{n}", "1") for n in range(1000)],
        [("same", "1"), ("same", b"\xff"), ("Same", "2")] * 100,
    ],
)
def test_plain_properties_foreign_names_are_no_fault_and_never_displace_ours(
    foreign: list[tuple[str, str | bytes]],
) -> None:
    plain = plain_properties([*foreign, ("trigger-id", "4711"), ("part-id", "p")])
    assert PROPERTY_FAULT not in plain
    assert (plain["trigger-id"], plain["part-id"]) == ("4711", "p")
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
        (b"\xff\xd8", "not valid JSON"),
        (b"\xff\xd8\xff\xe0", "not JSON but a JPEG: the camera sends images, and its encoding says json"),
        (b"\x89PNG\r\n\x1a\n\0", "not JSON but a PNG"),
        (b"[1]", "not an object"),
        (b"{}", "no text under the key image"),
        (b'{"image": 7}', "no text under the key image"),
        (b'{"image": "***"}', "not valid base64"),
        (b'{"image": "\xc3\xa4"}', "not valid base64"),
        (b'{"image": "data:image/png,%89PNG"}', "data URI without base64"),
    ],
)
def test_open_envelope_bad_json_keeps_payload_and_says_why(payload: bytes, fault: str) -> None:
    envelope = open_envelope(payload, [("part-id", "7")], is_json=True, topic_trigger="12")
    assert envelope.payload == payload
    assert fault in envelope.properties[PROPERTY_FAULT]
    assert envelope.properties["part-id"] == "7"
    assert envelope.properties["trigger-id"] == "12"


ENCODED = base64.b64encode(IMAGE)
WIDE = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")
CUT = ENCODED.rstrip(b"=")[: len(ENCODED) // 4 * 4 - 3]
WITH_IDS = b'"trigger_id": 102, "part_id": "p1"'


@pytest.mark.parametrize(
    "payload",
    [
        b'{"image": "' + CUT + b'", ' + WITH_IDS + b"}",
        b"{" + WITH_IDS + b', "image": "' + CUT,
        b"{" + WITH_IDS + b', "image": "' + ENCODED + b'", "lot": ',
        b'{"img": "' + ENCODED + b'", ' + WITH_IDS + b"}",
        b'{"image": {"data": "x"}, ' + WITH_IDS + b"}",
        b'{"image": null, ' + WITH_IDS + b"}",
        b'{"image": "' + b"A" * 4_000_000 + b'", ' + WITH_IDS + b', "meta": {"a": ["}"]}}',
        b'{"image": "' + ENCODED + b'", "frame_id": "' + b"x" * 5000 + b'", ' + WITH_IDS + b"}",
        b'{"image": "' + ENCODED + b'", "frame_id": "\xfc", ' + WITH_IDS + b"}",
        b'{"image": "' + ENCODED + b'", "product": {"name": "bottle"}, ' + WITH_IDS + b"}",
    ],
)
def test_open_envelope_json_of_a_frame_that_cant_be_judged_keeps_its_ids(payload: bytes) -> None:
    properties = dict(open_envelope(payload, [], is_json=True, most_bytes=2**20).properties)
    assert properties.pop(PROPERTY_FAULT)
    properties.pop("img", None)
    assert properties == {"trigger-id": "102", "part-id": "p1"}


@pytest.mark.parametrize(
    "payload",
    [
        b'{"image": "data:image/jpeg;base64,' + ENCODED + b'", "trigger_id": 7}',
        b'{"image": "DATA:;Base64,' + ENCODED.replace(b"=", b"%3D").replace(b"+", b"%2B") + b'", "trigger_id": 7}',
        b'{"image": "' + base64.urlsafe_b64encode(IMAGE) + b'", "trigger_id": "7"}',
        b'{"image": "' + base64.urlsafe_b64encode(IMAGE).rstrip(b"=") + b'", "trigger_id": 7.0}',
        b'{"image": "' + ENCODED[:8] + b"\\r\\n " + ENCODED[8:] + b'\\n", "trigger_id": 7}',
        b'{"image": "' + ENCODED[:8] + b"\n" + ENCODED[8:] + b'", "trigger_id": 7}',  # no JSON, but plain to read
        b'{"image": "' + ENCODED.replace(b"/", b"\\/").replace(b"=", b"\\u003d") + b'", "trigger_id": 7}',
        b'{"image": "' + ENCODED + b'", "meta": {"exposure": [3, {"a": 1}]}, "tags": [], "trigger_id": 7}',
        b'{"image": "' + ENCODED + b'", "exposure": NaN, "trigger_id": 7}',
        b'{"image": "' + ENCODED + b'", "operator": "M\xfcller", "trigger_id": 7}',
        b'{"image": "' + ENCODED + b'", "note": "\\ud800", "trigger_id": 7}',
        b'{"Image": "' + ENCODED + b'", "Trigger_Id": 7, }\x00\r\n',
        b"\xef\xbb\xbf" + b'{"image": "' + ENCODED + b'", "trigger_id": 7}',
        *(('{"image": "' + ENCODED.decode() + '", "trigger_id": 7}').encode(encoding) for encoding in WIDE),
        b'{"image": "data:image/jpeg; name=a.jpg; base64 ,' + ENCODED + b'", "trigger_id": 7}',
        b'{"image": "data:image/jpeg;name=' + b"a" * 500 + b";base64," + ENCODED + b'", "trigger_id": 7}',
    ],
)
def test_open_envelope_json_written_otherwise_is_read_all_the_same(payload: bytes) -> None:
    envelope = open_envelope(payload, [], is_json=True, most_bytes=2**20)
    assert envelope.payload == IMAGE
    assert PROPERTY_FAULT not in envelope.properties
    assert envelope.properties["trigger-id"] == "7"


def test_open_envelope_json_of_brackets_without_end_is_given_up_soon() -> None:
    members = Members(b'{"trigger_id": 7, "meta": ' + b"[" * 1_000_000)
    assert list(members) == [("trigger_id", b"7")]
    assert not members.is_whole
    assert members._brackets == MOST_BRACKETS


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
