"""The journal's form of a PLC's report. Pure: nothing is stored here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from inspector.domain import GateAction, GateMode, ResultId
from inspector.stream.verdict_record import format_time, parse_time

_NUMBERS: Final = ("epoch", "trigger_id", "action", "source", "done", "lap", "packet_id")
_TEXTS: Final = ("gate", "report_id", "agent")
_FLAGS: Final = ("is_redelivered", "in_flight")
_OPTIONAL_TEXTS: Final = ("result_id", "lot", "job_id")


def action_record(action: GateAction) -> dict[str, Any]:
    """All fields of the report, with its time in milliseconds."""
    names = (*_NUMBERS, *_TEXTS, *_FLAGS, *_OPTIONAL_TEXTS)
    record = {name: getattr(action, name) for name in names}
    return record | {"mode": action.mode.value, "received_at": format_time(action.received_at)}


def action_from_record(record: Mapping[str, Any]) -> GateAction:
    """The inverse of `action_record`; unknown keys are ignored. Raises ValueError for a record of another form."""
    try:
        fields: dict[str, Any] = {name: _typed(record[name], int) for name in _NUMBERS}
        fields |= {name: _typed(record[name], str) for name in _TEXTS}
        fields |= {name: _typed(record[name], bool) for name in _FLAGS}
        fields |= {name: None if record[name] is None else _typed(record[name], str) for name in _OPTIONAL_TEXTS}
        if fields["result_id"] is not None:
            fields["result_id"] = ResultId(fields["result_id"])
        return GateAction(**fields, mode=GateMode(record["mode"]), received_at=parse_time(record["received_at"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"the record can't be read as an acknowledgement of a PLC: {error!r}") from error


def _typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{value!r} is not of type {kind.__name__}")
    return value
