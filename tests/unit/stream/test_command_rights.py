"""Commands are taken from those who may send them: the right command, gate, key and name, and every byte as signed."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.domain import CommandName, CommandRequest
from inspector.errors import CommandRefused
from inspector.stream.command_rights import CommandKey, CommandRights, topics_of
from inspector.stream.commands import read
from inspector.testing.clock import START

MES = CommandKey("mes", b"a key of the MES, long", by=("mes",), allow=("job",))
LEADS = CommandKey("leads", b"a key of shift leads", by=("ada", "bo"))
ANY = CommandKey("any", b"a key for whoever has it")
KEYED = CommandRights("p/s", keys=[MES, LEADS, ANY])
OPEN = CommandRights("p/s")


def signed(name: str, key: str, secret: bytes, *, prefix: str = "p/s", **keys: Any) -> CommandRequest:
    """A command as its sender makes it, with nothing but text and HMAC."""
    table = {"v": 1, "cmd_id": "c1", "sent_at": "2025-03-01T06:00:00Z", "by": "ada", "reason": "checked", **keys}
    body = orjson.dumps({**table, "key": key})[:-1]
    mac = hmac.new(secret, f"{prefix}/cmd/{name}\n".encode() + body, hashlib.sha256).hexdigest()
    return CommandRequest(CommandName(name), body + b',"hmac":"' + mac.encode() + b'"}', START)


def plain(name: str, **keys: Any) -> CommandRequest:
    table = {"v": 1, "cmd_id": "c1", "sent_at": "2025-03-01T06:00:00Z", "by": "ada", "reason": "checked", **keys}
    return CommandRequest(CommandName(name), orjson.dumps(table), START)


def ensure(rights: CommandRights, request: CommandRequest) -> None:
    rights.ensure(read(request), request)


def test_signed_command_is_taken() -> None:
    ensure(KEYED, signed("release", "leads", LEADS.secret, gate="g1"))
    ensure(KEYED, signed("job", "mes", MES.secret, by="mes", job_id="J1"))
    ensure(KEYED, signed("resync", "any", ANY.secret, by="whoever"))
    request = signed("resync", "leads", LEADS.secret)
    ensure(KEYED, CommandRequest(request.name, request.payload + b"\n", START))  # as a text editor ends a file


def test_signature_is_not_needed_without_keys_and_does_no_harm() -> None:
    ensure(OPEN, plain("resync"))
    ensure(OPEN, signed("resync", "leads", b"another key altogether"))


@pytest.mark.parametrize(
    ("request_", "said", "reason"),
    [
        (plain("resync"), "is not signed", "unsigned"),
        (plain("resync", key="leads"), "is not signed", "unsigned"),
        (plain("resync", key="leads", hmac="0" * 64), "is not that of the key leads", "unsigned"),
        (signed("resync", "leads", MES.secret), "is not that of the key leads", "unsigned"),
        (signed("resync", "nobody", b"none"), "is not that of the key nobody", "unsigned"),
        (signed("resync", "leads", LEADS.secret, prefix="p/t"), "another key or topic", "unsigned"),
        (signed("resync", "leads", LEADS.secret, by="mes"), "does not speak for mes", "not_allowed"),
        (signed("mode", "mes", MES.secret, by="mes", mode="auto"), "mode is not taken here .key mes.", "not_allowed"),
    ],
)
def test_command_without_its_right_is_refused(request_: CommandRequest, said: str, reason: str) -> None:
    with pytest.raises(CommandRefused, match=said) as refusal:
        ensure(KEYED, request_)
    assert refusal.value.reason == reason


def test_signed_command_on_another_topic_is_refused() -> None:
    """A signed resync must not release a gate: both have the same keys."""
    request = signed("resync", "leads", LEADS.secret, gate="g1")
    with pytest.raises(CommandRefused, match="another key or topic"):
        ensure(KEYED, CommandRequest(CommandName.RELEASE, request.payload, START))


@given(st.data())
def test_signed_command_with_any_byte_changed_is_refused(data: st.DataObject) -> None:
    request = signed("release", "leads", LEADS.secret, gate="g1")
    at = data.draw(st.integers(0, len(request.payload) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != request.payload[at]))
    changed = request.payload[:at] + bytes([other]) + request.payload[at + 1 :]
    with pytest.raises(CommandRefused):
        ensure(KEYED, CommandRequest(request.name, changed, START))


def test_key_is_not_shown() -> None:
    assert "shift leads" not in repr(LEADS)


@pytest.mark.parametrize(
    ("allow", "name", "keys", "said"),
    [
        (("job",), "job", {"job_id": "J1"}, None),
        (("job",), "resync", {}, "resync is not taken here"),
        (("mode:g1",), "mode", {"mode": "auto", "gate": "g1"}, None),
        (("mode:g1",), "mode", {"mode": "auto", "gate": "g2"}, "mode is not taken at g2"),
        (("mode:g1",), "mode", {"mode": "auto"}, "names no gate, and mode is taken at g1 only"),
        (("mode:cam2",), "mode", {"mode": "auto", "camera": "cam2"}, None),
        ((), "release", {}, "release is not taken here"),
    ],
)
def test_command_is_taken_where_the_list_says_so(
    allow: tuple[str, ...], name: str, keys: dict[str, Any], said: str | None
) -> None:
    rights = CommandRights("p/s", allow)
    if said is None:
        ensure(rights, plain(name, **keys))
        return
    with pytest.raises(CommandRefused, match=said):
        ensure(rights, plain(name, **keys))


def test_topics_are_those_of_allowed_commands() -> None:
    assert list(topics_of("p/s", ("mode:g1", "job"))) == ["p/s/cmd/job", "p/s/cmd/mode"]
    assert topics_of("p/s", ()) == {}
