"""Commands are read whole or refused with a sentence, and none is obeyed that is old."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.domain import CommandName, CommandRequest, GateMode, Master, Outcome
from inspector.errors import CommandRefused
from inspector.stream.commands import Command, check_time, cmd_id_of, read
from inspector.testing.clock import START

BASICS = {"v": 1, "cmd_id": "c1", "sent_at": "2025-03-01T06:00:00Z", "by": "mes", "reason": "next lot"}


def asked(name: str, **changes: Any) -> CommandRequest:
    return CommandRequest(CommandName(name), orjson.dumps({**BASICS, **changes}), START)


def test_read_job_with_all_its_keys() -> None:
    command = read(asked("job", gate="g1", job_id="J1", lot="L 7", product="bolt", effective_from_trig=4711))
    assert (command.owner, command.job_id, command.lot, command.product) == ("g1", "J1", "L 7", "bolt")
    assert command.from_trigger == 4711


def test_read_mode_and_resync() -> None:
    assert read(asked("mode", mode="bypass", expires_at="2025-03-01T07:00:00+01:00")).mode is GateMode.BYPASS
    assert read(asked("mode", mode="golden", expires_at="2025-03-01T07:00:00Z")).mode is GateMode.GOLDEN
    assert read(asked("resync")).mode is None


GOLDEN = {"good": 2, "bad": 1, "within_s": 60}


def test_read_golden_in_order_is_all_good_parts_first() -> None:
    command = read(asked("golden", gate="g1", product="bolt", **GOLDEN))
    assert command.masters == (Master(Outcome.PASS), Master(Outcome.PASS), Master(Outcome.REJECT))
    assert (command.owner, command.product, command.within_s, command.mode) == ("g1", "bolt", 60, None)


def test_read_golden_by_part_ids_names_each() -> None:
    command = read(asked("golden", **GOLDEN, good_parts=["G1", "G2"], bad_parts=["B1"]))
    assert [(master.expected, master.part_id) for master in command.masters] == [
        (Outcome.PASS, "G1"),
        (Outcome.PASS, "G2"),
        (Outcome.REJECT, "B1"),
    ]


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("job", {"job_id": "J1", "effective_from_trigger": 3}, "no key effective_from_trigger"),
        ("job", {}, "no job_id"),
        ("job", {"job_id": "J1", "effective_from_trig": True}, "whole number"),
        ("job", {"job_id": "J1", "product": "a/b"}, "product is not a name"),
        ("job", {"job_id": "J1", "gate": "g1", "camera": "c1"}, "a gate and a camera"),
        ("mode", {"mode": "off"}, "none of auto, bypass"),
        ("mode", {"mode": "auto", "v": True}, "v is not 1"),
        ("mode", {"mode": "auto", "by": " "}, "by is not a text"),
        ("mode", {"mode": "auto", "reason": "x" * 501}, "reason is not a text"),
        ("resync", {"sent_at": "2025-03-01T06:00:00"}, "sent_at is not an RFC 3339"),
        ("resync", {"cmd_id": 7}, "cmd_id is not a text"),
        ("golden", {}, "is a challenge and needs good, bad and within_s"),
        ("golden", {"expires_at": "2025-03-01T07:00:00Z"}, "command mode with the mode golden"),
        ("golden", GOLDEN | {"bad": 0}, "bad is not a whole number from 1 to 50"),
        ("golden", GOLDEN | {"good": True}, "good is not a whole number"),
        ("golden", GOLDEN | {"within_s": 3601}, "within_s is not a number of seconds"),
        ("golden", GOLDEN | {"within_s": True}, "within_s is not a number of seconds"),
        ("golden", GOLDEN | {"good_parts": ["G1", "G2"]}, "send both, or neither"),
        ("golden", GOLDEN | {"good_parts": ["G1"], "bad_parts": ["B1"]}, "good_parts are 1 and its good is 2"),
        ("golden", GOLDEN | {"good_parts": ["G1", "B1"], "bad_parts": ["B1"]}, "comes twice"),
        ("golden", GOLDEN | {"good_parts": "G1", "bad_parts": ["B1"]}, "not a list of part ids"),
        ("golden", GOLDEN | {"good_parts": ["G1", 7], "bad_parts": ["B1"]}, "good_parts is not a text"),
        ("golden", GOLDEN | {"order": []}, "no key order"),
    ],
)
def test_read_another_form_is_refused_with_its_sentence(name: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(CommandRefused, match=said):
        read(asked(name, **changes))


@pytest.mark.parametrize(
    ("again", "key"),
    [
        (b'"by":"eve"', "by"),
        (b'"\\u0062y":"mes"', "by"),
        (b'"job_id":null', "job_id"),
        (b'"v":1', "v"),
        (b'"lot":{"a":1,"a":2}', "a"),
    ],
)
def test_read_command_with_a_key_that_comes_twice_is_refused(again: bytes, key: str) -> None:
    once = orjson.dumps({**BASICS, "job_id": "J1"})
    assert read(CommandRequest(CommandName.JOB, once, START)).job_id == "J1"
    for payload in (once[:-1] + b"," + again + b"}", b"{" + again + b"," + once[1:]):
        with pytest.raises(CommandRefused, match=f"Its key {key} comes twice"):
            read(CommandRequest(CommandName.JOB, payload, START))


def test_read_command_that_is_nested_deep_is_refused() -> None:
    deep = orjson.dumps(BASICS)[:-1] + b',"lot":' + b"[" * 1000 + b"]" * 1000 + b"}"
    with pytest.raises(CommandRefused):
        read(CommandRequest(CommandName.JOB, deep, START))


@given(st.sampled_from(CommandName), st.binary(max_size=200))
def test_read_any_bytes_is_a_command_or_a_refusal(name: CommandName, payload: bytes) -> None:
    request = CommandRequest(name, payload, START)
    cmd_id_of(payload)
    with pytest.raises(CommandRefused):
        read(request)


JSON = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=20)


@given(
    st.sampled_from(CommandName),
    st.dictionaries(st.sampled_from([*BASICS, "job_id", "lot", "product", "mode", "expires_at", "gate"]), JSON),
)
def test_read_any_values_is_a_command_or_a_refusal(name: CommandName, changes: dict[str, Any]) -> None:
    try:
        command = read(CommandRequest(name, orjson.dumps({**BASICS, **changes}), START))
    except (CommandRefused, orjson.JSONEncodeError):
        return
    assert isinstance(command, Command)


@pytest.mark.parametrize(("age_s", "is_obeyed"), [(0, True), (30, True), (31, False), (-30, True), (-31, False)])
def test_check_time_of_an_old_or_future_command_is_refused(age_s: int, is_obeyed: bool) -> None:
    command = Command(CommandName.RESYNC, "c1", START, "mes", "plc restarted")
    now = START + timedelta(seconds=age_s)
    if is_obeyed:
        check_time(command, now, 30, 12)
    else:
        with pytest.raises(CommandRefused):
            check_time(command, now, 30, 12)


def test_check_time_of_a_mode_needs_an_end_to_come() -> None:
    command = Command(CommandName.MODE, "c1", START, "ada", "cleaning", mode=GateMode.CLEAN)
    with pytest.raises(CommandRefused, match="needs expires_at"):
        check_time(command, START, 30, 12)
    over = Command(CommandName.MODE, "c1", START, "ada", "cleaning", mode=GateMode.CLEAN, expires_at=START)
    with pytest.raises(CommandRefused, match="over already"):
        check_time(over, START, 30, 12)
    check_time(Command(CommandName.MODE, "c1", START, "ada", "done", mode=GateMode.AUTO), START, 30, 12)


def test_check_time_of_a_mode_beyond_the_longest_is_refused() -> None:
    for end, longest_h, is_obeyed in (
        (START + timedelta(hours=12), 12, True),
        (START + timedelta(hours=12, milliseconds=1), 12, False),
        (START + timedelta(hours=12, milliseconds=1), 13, True),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), 168, False),
    ):
        command = Command(CommandName.MODE, "c1", START, "ada", "cleaning", mode=GateMode.CLEAN, expires_at=end)
        if is_obeyed:
            check_time(command, START, 30, longest_h)
        else:
            with pytest.raises(CommandRefused, match=rf"more than {longest_h} h away.*commands\.max_mode_h"):
                check_time(command, START, 30, longest_h)
