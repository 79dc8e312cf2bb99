"""Maps verdicts, decisions and gates to rows, and rows back to verdicts.

Any value that a camera sends can be stored: characters that no database takes (NUL, lone surrogates) become
U+FFFD; a number beyond 64 bits or not finite becomes NULL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, Final

from inspector.domain import (
    SCHEMA_VERSION,
    Action,
    Cause,
    CauseRun,
    CommandRecord,
    Decision,
    FrameKey,
    Gap,
    GateMode,
    GateState,
    GoldenState,
    HeldFor,
    Identity,
    Job,
    LateOutcome,
    Outcome,
    ResultId,
    Sighting,
    StormCounts,
    TimeSource,
    Verdict,
)
from inspector.errors import RowDamaged
from inspector.stream.verdict_record import parse_time, plain, regions_from_record, regions_record

_VERDICT_FIELDS: Final = tuple(field.name for field in fields(Verdict) if field.name != "regions")
_ENUMS: Final = {"outcome": Outcome, "cause": Cause, "action": Action, "identity": Identity, "mode": GateMode}
_OPTIONAL_ENUMS: Final = {"time_source": TimeSource, "late_outcome": LateOutcome, "late_cause": Cause}

REDUCED_FIELDS: Final = (
    "frame_id",
    "trigger_id",
    "part_id",
    "inspection_no",
    "lot",
    "job_id",
    "product",
    "product_version",
    "level",
    "score",
    "threshold",
    "route_confidence",
    "engine",
)
"""Columns that are left out of a row that the database refuses."""


def verdict_row(verdict: Verdict) -> dict[str, Any]:
    """One row of `results`."""
    row = {name: storable(getattr(verdict, name)) for name in _VERDICT_FIELDS}
    row["schema"] = SCHEMA_VERSION
    row["regions"] = regions_record(verdict.regions)
    return row


def reduced_row(verdict: Verdict, why: str) -> dict[str, Any]:
    """The row without values from the frame's metadata; `cause_detail` says why."""
    row = verdict_row(verdict) | dict.fromkeys(REDUCED_FIELDS)
    row["regions"] = []
    row["cause_detail"] = f"stored without its metadata: {why}"
    return row


def verdict_from_row(row: Mapping[Any, Any]) -> Verdict:
    """The verdict of a row of `results`. Raises RowDamaged if the row has an unknown word or an unreadable region."""
    values = {name: row[name] for name in _VERDICT_FIELDS}
    try:
        for name, words in _ENUMS.items():
            values[name] = words(values[name])
        for name, words in _OPTIONAL_ENUMS.items():
            values[name] = None if values[name] is None else words(values[name])
        regions = regions_from_record(row["regions"])
    except (ValueError, KeyError, TypeError) as error:
        raise RowDamaged(
            f"The row of result {row['result_id']} can't be read ({error}); mend it in the database, or restore it "
            "from a backup."
        ) from error
    values["result_id"] = ResultId(values["result_id"])
    corrected_by = values["corrected_by"]
    values["corrected_by"] = None if corrected_by is None else ResultId(corrected_by)
    return Verdict(**values, regions=regions)


FINDING_COLUMNS: Final = (
    "product",
    "product_version",
    "artifact_digest",
    "registry_revision",
    "route_confidence",
    "level",
    "score",
    "threshold",
    "decode_ms",
    "route_ms",
    "embed_ms",
    "score_ms",
    "engine",
)
"""Columns that judging a late frame afterwards fills. A value that is there stays."""


def finding_row(verdict: Verdict) -> dict[str, Any]:
    """The values that judging a late frame afterwards adds to its row, under the names of the columns."""
    row = verdict_row(verdict)
    return {name: row[name] for name in (*FINDING_COLUMNS, *LATE_COLUMNS, "regions")}


LATE_COLUMNS: Final = ("late_outcome", "late_cause", "late_detail", "judged_at")

SIGHTING_COLUMNS: Final = (
    "result_id",
    "camera",
    "view",
    "gate",
    "epoch",
    "lap",
    "frame_id",
    "trigger_id",
    "part_id",
    "frame_sha256",
    "identity",
    "simulated",
)
"""Columns by which a frame is recognised. Only these are read: a damaged row must not keep an agent from starting."""


def sighting_of_row(row: Mapping[Any, Any]) -> Sighting:
    """The frame of a row with `SIGHTING_COLUMNS` and a `frame_sha256`. Its delivery counts as acknowledged."""
    key = FrameKey(
        camera=row["camera"],
        view=row["view"],
        epoch=row["epoch"],
        frame_id=row["frame_id"],
        trigger_id=row["trigger_id"],
        part_id=row["part_id"],
        sha256=row["frame_sha256"],
        nonce=row["result_id"] if row["identity"] == Identity.WEAK else "",
        lap=row["lap"],
        simulated=row["simulated"],
    )
    return Sighting(key, ResultId(row["result_id"]), row["gate"], acknowledged=True)


def decision_row(decision: Decision, *, is_sent: bool, now: datetime) -> dict[str, Any]:
    """One row of `decisions`. A part without a trigger id has none there."""
    return {
        "gate": decision.gate,
        "epoch": decision.epoch,
        "lap": decision.lap,
        "trigger_id": None if decision.in_flight else storable(decision.trigger_id),
        "action": decision.action.value,
        "cause": decision.cause.value,
        "result_id": decision.result_id,
        "act_before": decision.act_before,
        "sent": int(is_sent),
        "updated_at": now,
    }


def command_row(command: CommandRecord) -> dict[str, Any]:
    """One row of `commands`."""
    return {
        "cmd_id": storable(command.cmd_id),
        "agent": command.agent,
        "name": command.name.value,
        "by_name": storable(command.by),
        "reason": storable(command.reason),
        "sent_at": command.sent_at,
        "received_at": command.received_at,
        "is_obeyed": command.is_obeyed,
        "detail": storable(command.detail),
    }


def gate_row(gate: GateState, now: datetime) -> dict[str, Any]:
    """One row of `gates`."""
    return {
        "name": gate.name,
        "epoch": gate.epoch,
        "last_trigger": storable(gate.last_trigger),
        "reject_streak": gate.reject_streak,
        "held": gate.held,
        "mode": gate.mode.value,
        "mode_expires_at": gate.mode_expires_at,
        "jobs": [{name: storable(value) for name, value in asdict(job).items()} for job in gate.jobs],
        "orders": gate.orders,
        "held_for": None if gate.held_for is None else gate.held_for.value,
        "storm": {"recent": gate.storm.recent, "runs": [asdict(run) for run in gate.storm.runs]}
        | {"elsewhere": [list(run) for run in gate.elsewhere]},  # beside the counts, for they are kept as these are
        "releases": gate.releases,
        "watched": gate.watched,
        "golden": {name: plain(value) for name, value in asdict(gate.golden).items()},
        "held_since": gate.held_since,
        "held_by": gate.held_by,
        "epoch_of": gate.epoch_of,
        "ended_holds": list(gate.ended_holds),
        "modulus": storable(gate.modulus),
        "gaps": [[gap.epoch, gap.first, gap.last] for gap in gate.gaps],
        "updated_at": now,
    }


def gate_of(row: Mapping[Any, Any]) -> GateState:
    """The state in a row of `gates`. Raises RowDamaged for an unknown mode, or unreadable jobs, gaps or counts."""
    try:
        mode, jobs = GateMode(row["mode"]), tuple(Job(**job) for job in row["jobs"])
        gaps = tuple(Gap(*map(int, gap)) for gap in row["gaps"])
        held_for = None if row["held_for"] is None else HeldFor(row["held_for"])
        storm = StormCounts(row["storm"].get("recent", ""), _runs(row["storm"].get("runs", [])))
        elsewhere = tuple((int(first), int(last)) for first, last in row["storm"].get("elsewhere", []))
        golden = _golden(row["golden"])
    except (ValueError, TypeError, AttributeError) as error:
        raise RowDamaged(
            f"The row of gate {row['name']} can't be read ({error}); mend it in the database, or restore it "
            "from a backup."
        ) from error
    return GateState(
        name=row["name"],
        epoch=row["epoch"],
        last_trigger=row["last_trigger"],
        reject_streak=row["reject_streak"],
        held=row["held"],
        mode=mode,
        mode_expires_at=row["mode_expires_at"],
        jobs=jobs,
        orders=row["orders"],
        held_for=held_for,
        storm=storm,
        elsewhere=elsewhere,
        releases=row["releases"],
        watched=row["watched"],
        golden=golden,
        gaps=gaps,
        held_since=row["held_since"],
        held_by=row["held_by"],
        epoch_of=row["epoch_of"],
        ended_holds=tuple(map(str, row["ended_holds"])),
        modulus=row["modulus"],
    )


def _golden(stored: dict[str, Any]) -> GoldenState:
    times = {name: parse_time(stored[name]) for name in ("settled_at", "due_at") if stored.get(name) is not None}
    names = {name: tuple(stored.get(name, ())) for name in ("masters", "versions")}
    return GoldenState(**stored | names | times)


def _runs(stored: list[dict[str, Any]]) -> tuple[CauseRun, ...]:
    runs = tuple(CauseRun(**run) for run in stored)
    for run in runs:
        Cause(run.cause)
    return runs


def storable(value: Any) -> Any:
    """The value in a form that any database takes: as for JSON and without NUL, but times stay times."""
    if isinstance(value, datetime):
        return value
    taken = plain(value)
    return taken.replace("\x00", "\ufffd") if isinstance(taken, str) else taken
