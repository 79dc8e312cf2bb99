"""The JSON form of a gate's state, with which its owner hands it over to the agents that wait. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from inspector.domain import CauseRun, GateMode, GateState, GoldenState, HeldFor, Job, StormCounts
from inspector.stream.verdict_record import format_time, parse_time

LARGEST: Final = 2**63 - 1


def gate_record(state: GateState) -> dict[str, Any]:
    """The JSON form of a state as it is handed over."""
    return {
        "name": state.name,
        "epoch": state.epoch,
        "epoch_of": state.epoch_of,
        "held": state.held,
        "held_for": None if state.held_for is None else state.held_for.value,
        "held_since": _text(state.held_since),
        "held_by": state.held_by,
        "reject_streak": state.reject_streak,
        "storm": {"recent": state.storm.recent, "runs": [asdict(run) for run in state.storm.runs]},
        "releases": state.releases,
        "watched": state.watched,
        "mode": state.mode.value,
        "mode_expires_at": _text(state.mode_expires_at),
        "jobs": [asdict(job) for job in state.jobs],
        "orders": state.orders,
        "golden": {
            name: _text(value) if isinstance(value, datetime) else value for name, value in asdict(state.golden).items()
        },
    }


def gate_from_record(record: Mapping[str, Any]) -> GateState:
    """The inverse of `gate_record`. Raises ValueError if the record can't be read."""
    try:
        golden = dict(record["golden"])
        golden |= {name: _time(golden.get(name)) for name in ("settled_at", "due_at")}
        golden |= {name: tuple(golden.get(name, ())) for name in ("masters", "versions")}
        storm = record["storm"]
        return GateState(
            name=str(record["name"]),
            held=record["held"] is True,
            held_for=None if record["held_for"] is None else HeldFor(record["held_for"]),
            held_since=_time(record["held_since"]),
            held_by=record["held_by"],
            storm=StormCounts(str(storm["recent"]), tuple(CauseRun(**run) for run in storm["runs"])),
            mode=GateMode(record["mode"]),
            mode_expires_at=_time(record["mode_expires_at"]),
            jobs=tuple(Job(**job) for job in record["jobs"]),
            golden=GoldenState(**golden),
            epoch_of=str(record["epoch_of"]),
            epoch=_count(record["epoch"]),
            reject_streak=_count(record["reject_streak"]),
            releases=_count(record["releases"]),
            watched=_count(record["watched"]),
            orders=_count(record["orders"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the record can't be read as the state of a gate: {error!r}") from error


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise ValueError("a count is not a whole number from 0 on")
    return value


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)


def _time(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)
