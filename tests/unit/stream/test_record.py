"""The verdict record: every key of the contract, nothing lost on the way there and back."""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import UTC, datetime, timedelta, timezone

import pytest

from inspector.domain import (
    Action,
    Cause,
    Decision,
    Identity,
    LateOutcome,
    Outcome,
    Region,
    ResultId,
    TimeSource,
    Verdict,
)
from inspector.stream import verdict_record as record
from inspector.stream.rfc_3339 import parse_rfc_3339

AT = datetime(2025, 3, 1, 12, 0, 0, 987_000, tzinfo=UTC)

BARE = Verdict(
    result_id=ResultId("r-1"),
    camera="cam1",
    view="",
    epoch=1,
    frame_id=None,
    trigger_id=None,
    part_id=None,
    outcome=Outcome.UNJUDGED,
    cause=Cause.UNDECODABLE,
    cause_detail="empty",
    action=Action.QUARANTINE,
    received_at=AT,
    decided_at=AT,
    identity=Identity.WEAK,
    agent="a",
    software="0.1.0",
    config_digest="c" * 64,
)
FULL = dataclasses.replace(
    BARE,
    gate="g1",
    lap=2,
    captured_at=AT,
    act_before=AT + timedelta(seconds=1),
    time_source=TimeSource.CAMERA,
    published=True,
    id_conflict=True,
    level=1.25,
    regions=(Region(1, 2, 3, 4, 10, 1.5),),
    late_outcome=LateOutcome.REJECT,
    late_cause=Cause.ANOMALY,
    late_detail="seen later",
    judged_at=AT,
)


def test_verdict_record_of_any_verdict_has_the_keys_of_the_contract() -> None:
    keys = """schema result_id camera view epoch frame_id trigger_id part_id inspection_no lot job_id product
        product_version outcome cause cause_detail action level score threshold route_confidence captured_at
        received_at decided_at act_before time_source published shadow simulated redelivered identity decode_ms
        route_ms embed_ms score_ms total_ms frame_sha256 artifact_digest registry_revision config_digest software
        engine agent"""
    contract = keys.split()
    assert list(record.verdict_record(BARE)) == contract
    assert list(record.verdict_record(FULL)) == contract


def test_verdict_record_values_are_plain_json() -> None:
    line = json.loads(json.dumps(record.verdict_record(FULL), allow_nan=False))
    assert line["schema"] == 1
    assert line["outcome"] == "unjudged"
    assert line["captured_at"] == "2025-03-01T12:00:00.987Z"
    assert line["product"] is None


@pytest.mark.parametrize("verdict", [BARE, FULL])
def test_journal_record_there_and_back_is_the_same_verdict(verdict: Verdict) -> None:
    assert record.verdict_from_record(json.loads(json.dumps(record.journal_record(verdict)))) == verdict


def test_verdict_from_record_of_older_software_has_no_late_finding() -> None:
    line = record.journal_record(FULL)
    for key in ("late_outcome", "late_cause", "late_detail", "judged_at"):
        del line[key]
    found = record.verdict_from_record(line)
    assert (found.late_outcome, found.late_cause, found.late_detail, found.judged_at) == (None, None, None, None)


def test_verdict_record_with_a_score_that_is_not_finite_says_null() -> None:
    assert record.verdict_record(dataclasses.replace(BARE, score=math.nan, level=math.inf))["score"] is None


def test_format_time_cuts_microseconds_and_never_rounds_up() -> None:
    east = datetime(2025, 3, 1, 13, 0, 59, 999_999, tzinfo=timezone(timedelta(hours=1)))
    assert record.format_time(east) == "2025-03-01T12:00:59.999Z"


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2025-03-01t12:00:59.5z", "2025-03-01T12:00:59.500Z"),
        ("2025-03-01T14:00:00+02:00", "2025-03-01T12:00:00.000Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"),
        ("2017-01-01T00:59:60.25+01:00", "2017-01-01T00:00:00.250Z"),
    ],
)
def test_parse_rfc_3339_takes_what_the_standard_allows(text: str, utc: str) -> None:
    assert record.format_time(parse_rfc_3339(text)) == utc


@pytest.mark.parametrize("text", ["2025-03-01T12:00:59", "2025-03-01T12:00:61Z", "9999-12-31T23:59:60Z", "60"])
def test_parse_rfc_3339_refuses_other_times(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|isoformat|second"):
        parse_rfc_3339(text)


def test_parse_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no zone"):
        record.parse_time("2025-03-01T12:00:59")


@pytest.mark.parametrize("change", [{"schema": 2}, {"outcome": "perhaps"}, {"received_at": 5}])
def test_verdict_from_record_of_something_else_is_a_value_error(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        record.verdict_from_record(record.journal_record(BARE) | change)


def test_verdict_from_record_without_a_key_is_a_value_error() -> None:
    line = record.journal_record(BARE)
    del line["camera"]
    with pytest.raises(ValueError, match="camera"):
        record.verdict_from_record(line)


def test_decision_record_there_and_back_is_the_same_decision() -> None:
    decision = Decision("g1", 3, 4711, Action.REJECT, Cause.ANOMALY, ResultId("r-1"), AT, 12345, lap=2)
    for each in (decision, dataclasses.replace(decision, trigger_id=0, in_flight=True)):
        assert record.decision_from_record(json.loads(json.dumps(record.decision_record(each))), FULL) == each


@pytest.mark.parametrize(("trigger", "of_view", "in_flight"), [(0, None, True), (0, 0, False), (7, 7, False)])
def test_decision_of_older_software_has_a_part_as_the_view_beside_it(
    trigger: int, of_view: int | None, in_flight: bool
) -> None:
    written = record.decision_record(
        Decision("g1", 3, trigger, Action.REJECT, Cause.ANOMALY, ResultId("r-1"), AT, 12345)
    )
    del written["in_flight"]
    view = dataclasses.replace(FULL, trigger_id=of_view)
    assert record.decision_from_record(written, view).in_flight is in_flight


def test_verdict_record_of_what_json_can_not_say_is_still_json() -> None:
    odd = dataclasses.replace(BARE, frame_id="a\ud800b", trigger_id=2**64, part_id="gr\u00f6\u00dfer")
    line = json.loads(json.dumps(record.verdict_record(odd)))
    assert (line["frame_id"], line["trigger_id"], line["part_id"]) == ("a\ufffdb", None, "gr\u00f6\u00dfer")
