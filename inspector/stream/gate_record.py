"""The JSON form of a gate's state, with which its owner hands it over to the agents that wait. Pure.

Whoever can publish on the owner's topic can send one. What could not be stored, or would fail later, is refused here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, Final, TypeVar

from inspector.domain import Cause, CauseRun, GateMode, GateState, GoldenState, HeldFor, Job, StormCounts
from inspector.stream.verdict_record import format_time, parse_time

LARGEST: Final = 2**53
LARGEST_STREAK: Final = 2**31 - 2
"""The column of the streak has 32 bits, and one more reject may come."""

MOST_ENTRIES: Final = 1000
LONGEST_TEXT: Final = 4096
YEARS: Final = range(1000, 9999)
RUN_CAUSES: Final = frozenset({Cause.NO_TRIGGER_ID, Cause.UNKNOWN_PRODUCT, Cause.FRAME_HEALTH})

Made = TypeVar("Made")


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
        "ended_holds": list(state.ended_holds),
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
        golden |= {name: tuple(_list(golden.get(name, []))) for name in ("masters", "versions")}
        storm = record["storm"]
        runs = tuple(_made(CauseRun, run) for run in _list(storm["runs"]))
        if not all(run.cause in RUN_CAUSES and run.count >= 0 for run in runs):
            raise ValueError("a run has a cause that makes none, or a count below 0")
        return GateState(
            name=_text_of(record["name"]),
            held=_flag(record["held"]),
            held_for=_held_for(record["held_for"]),
            held_since=_time(record["held_since"]),
            held_by=None if record["held_by"] is None else _text_of(record["held_by"]),
            storm=StormCounts(_text_of(storm["recent"]), runs),
            mode=GateMode(record["mode"]),
            mode_expires_at=_time(record["mode_expires_at"]),
            jobs=tuple(_made(Job, job) for job in _list(record["jobs"])),
            golden=_made(GoldenState, golden),
            epoch_of=_text_of(record["epoch_of"]),
            epoch=_count(record["epoch"]),
            reject_streak=min(_count(record["reject_streak"]), LARGEST_STREAK),
            releases=_count(record["releases"]),
            # Software before ended holds had names does not tell them.
            ended_holds=tuple(_text_of(name) for name in _list(record.get("ended_holds", []))),
            watched=_count(record["watched"]),
            orders=_count(record["orders"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the record can't be read as the state of a gate: {error!r}") from error


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise ValueError("a count is not a whole number from 0 on")
    return value


def _made(kind: type[Made], table: Mapping[str, Any]) -> Made:
    """A record with the fields of `kind`, each of its own type. Other keys come from later software and are ignored."""
    known = {field.name: table[field.name] for field in fields(kind) if field.name in table}  # type: ignore[arg-type]  # a dataclass
    for field in fields(kind):  # type: ignore[arg-type]  # as above
        if field.name in known and not _IS_OF[str(field.type)](known[field.name]):
            raise ValueError(f"{field.name} is of another type")
    return kind(**known)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value and len(value) <= LONGEST_TEXT


def _is_number(value: Any) -> bool:
    return type(value) is int and -1 <= value <= LARGEST


_IS_OF: Final[dict[str, Callable[[Any], bool]]] = {
    "str": _is_text,
    "str | None": lambda value: value is None or _is_text(value),
    "int": _is_number,
    "bool": lambda value: isinstance(value, bool),
    "datetime | None": lambda value: value is None or isinstance(value, datetime),
    "tuple[str, ...]": lambda value: isinstance(value, tuple) and all(map(_is_text, value)),
}


def _text_of(value: Any) -> str:
    if not _is_text(value):
        raise ValueError("a text is none, too long, or has a NUL")
    return str(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("a flag is neither true nor false")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) > MOST_ENTRIES:
        raise ValueError("a list is none, or too long")
    return value


def _held_for(value: Any) -> HeldFor | None:
    """None also for a reason of later software: the gate is held all the same."""
    return HeldFor(value) if value in set(HeldFor) else None


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)


def _time(text: str | None) -> datetime | None:
    moment = None if text is None else parse_time(text)
    if moment is not None and moment.year not in YEARS:
        raise ValueError("a time lies beyond what can be stored")
    return moment
