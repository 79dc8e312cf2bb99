"""The verdict record: the one JSON form of a verdict, on the wire, in the journal and for people's scripts.

Pure: nothing is sent or stored here. `verdict_record` has the keys of the contract, all of them always,
with null for an unknown value. Times are RFC 3339, UTC, cut to whole milliseconds and never rounded
up, so that an `act_before` does not move later. Floats that are not finite and integers beyond 64 bits
become null, lone surrogates U+FFFD. `journal_record` adds the fields of a row that the wire does not have.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from inspector.domain import (
    SCHEMA_VERSION,
    Action,
    Cause,
    Decision,
    FrameKey,
    GateMode,
    HeldFor,
    HoldNote,
    Identity,
    LateOutcome,
    Outcome,
    Region,
    ResultId,
    Sighting,
    TimeSource,
    Verdict,
)

RECORD_KEYS: Final = (
    "schema", "result_id", "camera", "view", "epoch", "frame_id", "trigger_id", "part_id", "inspection_no", "lot",
    "job_id", "product", "product_version", "outcome", "cause", "cause_detail", "action", "level", "score",
    "threshold", "route_confidence", "captured_at", "received_at", "decided_at", "act_before", "time_source",
    "published", "shadow", "simulated", "redelivered", "identity", "decode_ms", "route_ms", "embed_ms", "score_ms",
    "total_ms", "frame_sha256", "artifact_digest", "registry_revision", "config_digest", "software", "engine", "agent",
)  # fmt: skip
"""The contract's keys, in the contract's order."""

EXTRA_KEYS: Final = (
    "gate", "lap", "mode", "id_conflict", "regions", "corrected_by", "late_outcome", "late_cause", "late_detail",
    "judged_at",
)  # fmt: skip
"""Fields of a row that are not among the contract's keys."""

_INT64_MAX: Final = 2**63 - 1
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_LATE_KEYS: Final = ("late_outcome", "late_cause", "late_detail", "judged_at")
_TIMES: Final = frozenset({"captured_at", "received_at", "decided_at", "act_before", "judged_at"})
_ENUMS: Final = {
    "outcome": Outcome,
    "cause": Cause,
    "action": Action,
    "identity": Identity,
    "time_source": TimeSource,
    "late_outcome": LateOutcome,
    "late_cause": Cause,
}


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds and `Z`; microseconds are cut off. `moment` must be aware."""
    utc = moment.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}Z"


def parse_time(text: str) -> datetime:
    """The time as an aware datetime in UTC. Raises ValueError for anything but a time with its zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"the time {text!r} has no zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:  # a time in the first or last hours of the calendar
        raise ValueError(f"the time {text!r} lies beyond the calendar in UTC") from error


def verdict_record(verdict: Verdict) -> dict[str, Any]:
    """The contract's keys, with values that any JSON encoder takes."""
    record: dict[str, Any] = {"schema": SCHEMA_VERSION}
    for key in RECORD_KEYS[1:]:
        record[key] = plain(getattr(verdict, key))
    return record


def journal_record(verdict: Verdict) -> dict[str, Any]:
    """The contract's keys and `EXTRA_KEYS`: all fields of a verdict, with times in milliseconds."""
    record = verdict_record(verdict)
    record["gate"] = plain(verdict.gate)
    record["lap"] = verdict.lap
    record["mode"] = plain(verdict.mode)
    record["id_conflict"] = verdict.id_conflict
    record["regions"] = regions_record(verdict.regions)
    record["corrected_by"] = verdict.corrected_by
    for key in _LATE_KEYS:
        record[key] = plain(getattr(verdict, key))
    return record


def verdict_from_record(record: Mapping[str, Any]) -> Verdict:
    """The verdict of a `verdict_record` or a `journal_record`; unknown keys are ignored.

    Raises ValueError if a key is missing, the schema is another one, or a value is impossible.
    """
    if record.get("schema") != SCHEMA_VERSION:
        raise ValueError(f"the record is of schema {record.get('schema')!r}, this software reads {SCHEMA_VERSION}")
    try:
        fields = {key: _typed(key, record[key]) for key in RECORD_KEYS[1:]}
        fields["gate"] = record.get("gate")
        fields["lap"] = record.get("lap", 0)
        fields["mode"] = GateMode(record.get("mode", GateMode.AUTO))
        fields["id_conflict"] = bool(record.get("id_conflict", False))
        fields["regions"] = regions_from_record(record.get("regions") or [])
        fields["corrected_by"] = record.get("corrected_by")
        fields |= {key: _typed(key, record.get(key)) for key in _LATE_KEYS}
    except (KeyError, TypeError) as error:
        raise ValueError(f"the record can't be read as a verdict: {error!r}") from error
    return Verdict(**fields)


def regions_record(regions: tuple[Region, ...]) -> list[dict[str, Any]]:
    """One dict per region, with the fields of `Region`."""
    return [
        {
            "x": region.x,
            "y": region.y,
            "width": region.width,
            "height": region.height,
            "area": region.area,
            "peak_level": plain(region.peak_level),
        }
        for region in regions
    ]


def regions_from_record(rows: list[dict[str, Any]]) -> tuple[Region, ...]:
    """The inverse of `regions_record`. Raises KeyError or TypeError for anything else."""
    return tuple(
        Region(row["x"], row["y"], row["width"], row["height"], row["area"], row["peak_level"]) for row in rows
    )


def decision_record(decision: Decision) -> dict[str, Any]:
    """A decision for the journal. `act_before_ns` is of this process's clock and is meaningless after a restart."""
    return {
        "gate": decision.gate,
        "epoch": decision.epoch,
        "trigger_id": decision.trigger_id,
        "action": decision.action.value,
        "cause": decision.cause.value,
        "result_id": decision.result_id,
        "act_before": format_time(decision.act_before),
        "act_before_ns": decision.act_before_ns,
        "lap": decision.lap,
        "in_flight": decision.in_flight,
    }


def decision_from_record(record: Mapping[str, Any], view: Verdict) -> Decision:
    """The inverse of `decision_record`. Raises ValueError if the record can't be read.

    `view`: the verdict that the decision was journaled with. It is of the same part, and shows whether the part has a
    trigger id where older software did not write it down.
    """
    try:
        is_nameless = record["trigger_id"] == 0 and view.trigger_id is None
        return Decision(
            gate=record["gate"],
            epoch=record["epoch"],
            trigger_id=record["trigger_id"],
            action=Action(record["action"]),
            cause=Cause(record["cause"]),
            result_id=ResultId(record["result_id"]),
            act_before=parse_time(record["act_before"]),
            act_before_ns=record["act_before_ns"],
            lap=record.get("lap", 0),
            in_flight=bool(record.get("in_flight", is_nameless)),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"the record can't be read as a decision: {error!r}") from error


def hold_record(hold: HoldNote) -> dict[str, Any]:
    """The beginning of a hold for the journal."""
    return {
        "gate": hold.gate,
        "held_for": hold.held_for.value,
        "releases": hold.releases,
        "since": None if hold.since is None else format_time(hold.since),
        "by": hold.by,
    }


def hold_from_record(record: Mapping[str, Any]) -> HoldNote:
    """The inverse of `hold_record`. Raises ValueError if the record can't be read."""
    try:
        gate, releases = record["gate"], record["releases"]
        if not isinstance(gate, str) or type(releases) is not int:
            raise ValueError("its gate or its count of releases is of another type")
        since = record.get("since")
        return HoldNote(
            gate, HeldFor(record["held_for"]), releases, None if since is None else parse_time(since), record.get("by")
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"the record can't be read as a hold: {error!r}") from error


def sighting_of(verdict: Verdict, sha256: str, *, acknowledged: bool) -> Sighting:
    """The frame of a verdict as `identity` looks it up. `sha256`: the verdict's `frame_sha256`, which is not None.

    The nonce of a frame without ids is in no record, so the key has the result id in place of the nonce. The key's own
    `result_id` then differs from the row's: use the `result_id` of the sighting.
    """
    key = FrameKey(
        camera=verdict.camera,
        view=verdict.view,
        epoch=verdict.epoch,
        frame_id=verdict.frame_id,
        trigger_id=verdict.trigger_id,
        part_id=verdict.part_id,
        sha256=sha256,
        nonce=verdict.result_id if verdict.identity is Identity.WEAK else "",
        lap=verdict.lap,
        simulated=verdict.simulated,
    )
    return Sighting(key, verdict.result_id, verdict.gate, acknowledged)


def plain(value: Any) -> Any:
    """The value for any JSON encoder: enums as words, times as text, null for numbers that JSON does not have."""
    if isinstance(value, str):  # an enum of words is one too
        return str(value) if value.isascii() else _SURROGATES.sub("\ufffd", value)
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int) and abs(value) > _INT64_MAX:
        return None
    return value


def _typed(key: str, value: Any) -> Any:
    if value is None:
        return None
    if key in _TIMES:
        return parse_time(value)
    if key in _ENUMS:
        return _ENUMS[key](value)
    return value
