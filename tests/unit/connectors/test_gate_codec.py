"""The gate's bytes are the contract's, to the letter: PLC programs are written against them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.mqtt.gate_codec import (
    ACTION_CODES,
    CAUSE_CODES,
    LARGEST,
    MOST_BYTES,
    encode_decision,
    encode_heartbeat,
    expiry_s,
    parse_action,
)
from inspector.domain import Action, Cause, Decision, ResultId

NOW = datetime(2025, 1, 1, tzinfo=UTC)


def make_decision(
    epoch: int = 3, trigger_id: int = 4711, action: Action = Action.PASS, cause: Cause = Cause.OK
) -> Decision:
    return Decision("g1", epoch, trigger_id, action, cause, ResultId("r"), NOW, 0)


def test_encode_decision_is_the_contracts_line() -> None:
    line = encode_decision(make_decision(), 38_999_999)
    assert line == b'{"v":1,"ep":3,"trig":4711,"act":1,"code":0,"left_ms":38}'


def test_codes_are_the_published_table() -> None:
    assert [CAUSE_CODES[cause] for cause in Cause] == list(range(14))
    assert [ACTION_CODES[action] for action in Action] == [0, 1, 2, 3]


def test_encode_decision_negative_number_is_refused() -> None:
    with pytest.raises(ValueError, match="left_ms would be negative"):
        encode_decision(make_decision(), -1)


@given(
    epoch=st.integers(0, LARGEST),
    trigger_id=st.integers(0, LARGEST),
    action=st.sampled_from(list(Action)),
    cause=st.sampled_from(list(Cause)),
    left_ns=st.integers(0, 600_000 * 1_000_000),
)
def test_encode_decision_any_fits_in_128_ascii_bytes(
    epoch: int, trigger_id: int, action: Action, cause: Cause, left_ns: int
) -> None:
    line = encode_decision(make_decision(epoch, trigger_id, action, cause), left_ns)
    assert len(line) <= MOST_BYTES
    assert line.isascii()
    assert b" " not in line


@pytest.mark.parametrize(("left_ns", "seconds"), [(1, 1), (999_999_999, 1), (1_000_000_001, 2), (38_000_000_000, 38)])
def test_expiry_rounds_up_and_is_never_none(left_ns: int, seconds: int) -> None:
    assert expiry_s(left_ns) == seconds


def test_encode_heartbeat_has_every_key_in_order() -> None:
    line = encode_heartbeat({"ep": 3, "hb": 123, "ready": True, "mode": 1, "fault": 0})
    assert line == b'{"v":1,"ready":1,"fault":0,"hb":123,"mode":1,"ep":3}'


def test_encode_heartbeat_missing_key_is_an_error() -> None:
    with pytest.raises(KeyError):
        encode_heartbeat({"ready": 1})


def test_parse_action_takes_the_contracts_line() -> None:
    action = parse_action("g1", b'{"v":1,"ep":3,"trig":4711,"act":2,"src":1,"done":1}', NOW)
    assert (action.gate, action.epoch, action.trigger_id) == ("g1", 3, 4711)
    assert (action.action, action.source, action.done, action.received_at) == (2, 1, 1, NOW)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff\x00",
        b"[]",
        b'{"v":1}',
        b'{"v":2,"ep":3,"trig":4711,"act":2,"src":1,"done":1}',
        b'{"v":1,"ep":-3,"trig":4711,"act":2,"src":1,"done":1}',
        b'{"v":1,"ep":3,"trig":4711.0,"act":2,"src":1,"done":1}',
        b'{"v":1,"ep":3,"trig":"4711","act":2,"src":1,"done":1}',
        b'{"v":1,"ep":3,"trig":4711,"act":4,"src":1,"done":1}',
        b'{"v":1,"ep":3,"trig":4711,"act":2,"src":0,"done":1}',
        b'{"v":1,"ep":3,"trig":4711,"act":2,"src":1,"done":true}',
        b'{"v":1,"ep":3,"trig":4711,"act":2,"src":1,"done":1,"more":1}',
        b'{"v":1,"ep":3,"trig":9223372036854775808,"act":2,"src":1,"done":1}',
        b'{"v":1,"ep":3,"trig":4711,"act":2,"src":1,"done":1}' + b" " * 100,
    ],
)
def test_parse_action_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        parse_action("g1", line, NOW)


@given(line=st.binary(max_size=200))
def test_parse_action_raises_only_value_errors(line: bytes) -> None:
    try:
        parse_action("g1", line, NOW)
    except ValueError:
        return
