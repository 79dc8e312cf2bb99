"""Joins rows, decisions and reports of PLCs into parts, for the account of every part.

The database groups parts by their facts, which are few, so that the rules about them are not repeated in SQL
(`stream/accounting`). A part is the rows of one (gate, epoch, lap, trigger) with its decision and its report. At a gate
for one part at a time each row is a part. A report without any row is a part too. Simulated frames are no parts.

An agent asks every second for each gate, and a statement takes longer to build than to run. So it is built once for
each `_Shape` and kept; all that differs between selections of one shape is bound when it runs (`_values`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Self

import sqlalchemy as sa

from inspector.domain import (
    WAITED_ELSEWHERE,
    Ack,
    Action,
    GateMode,
    Outcome,
    Part,
    PartCount,
    PartFacts,
    PartSelection,
    ResultId,
    Seen,
)
from inspector.errors import RowDamaged
from inspector.store.database import Database
from inspector.store.ledger.acks import IN_FLIGHT, PART
from inspector.store.row_mapping import storable
from inspector.store.tables import UtcTime, decisions, gate_actions, gates, results

_R, _D, _A = results.c, decisions.c, gate_actions.c
_FACTS = ("decided", "is_told", "seen", "act", "src", "done", "is_young", "is_inspected", "is_elsewhere")
_SEEN = (Seen.NO_FRAME, Seen.UNJUDGED, Seen.JUDGED)
_JUDGED = (Outcome.PASS.value, Outcome.REJECT.value)
_JUDGED_CAUSES = ("ok", "anomaly", "wrong_product")
_COMBINATIONS_PER_QUERY = 100
_SHAPES_KEPT = 64
VIEWS_APART = timedelta(seconds=60)
"""Longest time between the first and the last view of a part."""


async def count_parts(database: Database, wanted: PartSelection) -> list[PartCount]:
    """How many of the selected parts have which facts, by gate and hour of their beginning."""
    query = _count_query(_Shape.of(wanted), is_sqlite=database.is_sqlite)
    return [
        PartCount(row["gate"], row["hour"], _facts(row), row["parts"])
        for row in await _rows(database, query, _values(wanted))
    ]


async def list_parts(
    database: Database, wanted: PartSelection, *, having: Sequence[PartFacts] | None = None, limit: int
) -> list[Part]:
    """The newest `limit` of the selected parts, newest first. `having`: only parts with one of these facts."""
    query, columns = _list_query(_Shape.of(wanted))
    values = {**_values(wanted), "limit": limit}
    if having is None:
        return [_part(row) for row in await _rows(database, query, values)]
    found: list[Part] = []
    for start in range(0, len(having), _COMBINATIONS_PER_QUERY):
        have = [_has(columns, facts) for facts in having[start : start + _COMBINATIONS_PER_QUERY]]
        found += [_part(row) for row in await _rows(database, query.where(sa.or_(*have)), values)]
    return sorted(found, key=lambda part: part.latest, reverse=True)[:limit]


async def epochs_elsewhere(database: Database) -> dict[str, tuple[tuple[int, int], ...]]:
    """The runs of epochs, by gate, in which another agent with a ledger of its own owned the gate."""
    rows = await _rows(database, _STORMS)
    return {row["name"]: tuple((run[0], run[1]) for run in row["storm"].get("elsewhere", [])) for row in rows}


async def last_sign(database: Database, gate: str, before: datetime) -> datetime | None:
    """When the last frame or report of the gate before that time was received; None if none was."""
    times: list[datetime] = []
    for query in _LAST:
        times += [row["received_at"] for row in await _rows(database, query, {"of": storable(gate), "before": before})]
    return max(times, default=None)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a statement depends on: which bounds there are and, by gate, whether it is solo and its runs elsewhere."""

    bounds: frozenset[str]
    terms: tuple[tuple[bool, int], ...]

    @classmethod
    def of(cls, wanted: PartSelection) -> Self:
        return cls(
            frozenset(name for name in _BOUNDS if getattr(wanted, name) is not None),
            tuple((terms.is_solo, len(terms.elsewhere)) for terms in wanted.terms),
        )


def _values(wanted: PartSelection) -> dict[str, Any]:
    """What the binds of a statement of the selection's shape stand for."""
    values: dict[str, Any] = {
        "gate": storable(wanted.gate),
        "lot": storable(wanted.lot),
        "since": wanted.since,
        "until": wanted.until,
        "after": wanted.after,
        "through": wanted.through,
        "rows_since": None if wanted.since is None else wanted.since - VIEWS_APART,
        "rows_until": None if wanted.until is None else wanted.until + VIEWS_APART,
    }
    for number, terms in enumerate(wanted.terms):
        values[f"name{number}"] = terms.name
        values[f"young{number}"] = wanted.young_since(terms)
        for run, (first, last) in enumerate(terms.elsewhere):
            values[f"first{number}of{run}"], values[f"last{number}of{run}"] = first, last
    return values


def _text(name: str) -> sa.BindParameter[str]:
    return sa.bindparam(name, type_=_R.gate.type)


def _time(name: str) -> sa.BindParameter[datetime]:
    return sa.bindparam(name, type_=_R.received_at.type)


def _epoch(name: str) -> sa.BindParameter[int]:
    return sa.bindparam(name, type_=_R.epoch.type)


_BOUNDS: Final = ("gate", "lot", "since", "until", "after", "through")
_STORMS: Final = sa.select(gates.c.name, gates.c.storm)
_LAST: Final = tuple(
    sa.select(columns.received_at)
    .where(columns.gate == _text("of"), columns.received_at < _time("before"))
    .order_by(columns.received_at.desc())
    .limit(1)
    for columns in (_R, _A)
)


@functools.lru_cache(_SHAPES_KEPT)
def _list_query(shape: _Shape) -> tuple[sa.Select[Any], Any]:
    """The statement of `list_parts`, and its columns."""
    parts = _parts(shape).subquery("parts")
    query = sa.select(parts).where(*_ends(parts.c, shape)).order_by(parts.c.latest.desc())
    return query.limit(sa.bindparam("limit", type_=sa.Integer)), parts.c


@functools.lru_cache(_SHAPES_KEPT)
def _count_query(shape: _Shape, *, is_sqlite: bool) -> sa.Select[Any]:
    parts = _parts(shape).subquery("parts")
    hour = _hour(parts.c.at, is_sqlite=is_sqlite).label("hour")
    by = [parts.c.gate, hour, *(parts.c[name] for name in _FACTS)]
    query = sa.select(*by, sa.func.count().label("parts")).group_by(*by).order_by(parts.c.gate, hour)
    return query.where(*_ends(parts.c, shape))


def _parts(shape: _Shape) -> sa.CompoundSelect[Any]:
    solo = [_text(f"name{number}") for number, (is_solo, _) in enumerate(shape.terms) if is_solo]
    of_solo = [_solo_parts(shape, solo)] if solo else []
    return sa.union_all(_seen_parts(shape), *of_solo, _unseen_parts(shape, solo))


def _seen_parts(shape: _Shape) -> sa.Select[Any]:
    """Parts with a trigger and at least one row."""
    # Selected first and grouped after that: SQLite would walk through the whole index of parts to save the sorting.
    rows = (
        sa.select(
            _R.gate,
            _R.epoch,
            _R.lap,
            _R.trigger_id,
            _R.received_at,
            _R.lot,
            _seen_rank().label("seen"),
            sa.case((_R.mode == GateMode.AUTO.value, 1), else_=0).label("is_inspected"),
            sa.case((_R.cause_detail == WAITED_ELSEWHERE, 1), else_=0).label("waited"),
        )
        .where(_R.gate.is_not(None), _R.trigger_id.is_not(None), ~_R.simulated, ~_R.shadow, *_selected(shape, _R))
        .cte("rows")
        .prefix_with("MATERIALIZED")
    )
    row = rows.c
    key = (row.gate, row.epoch, row.lap, row.trigger_id)
    seen = (
        sa.select(
            *key,
            sa.func.min(row.received_at, type_=UtcTime()).label("at"),
            sa.func.max(row.received_at, type_=UtcTime()).label("latest"),
            sa.func.min(row.lot).label("lot"),
            sa.func.max(row.seen).label("seen"),
            sa.func.max(row.is_inspected).label("is_inspected"),
            sa.func.min(row.waited).label("waited"),
        )
        .group_by(*key)
        .subquery("seen")
    )
    joined = seen.outerjoin(decisions, sa.and_(_is_part_of(_D, seen.c), _D.trigger_id.is_not(None))).outerjoin(
        gate_actions, sa.and_(_is_part_of(_A, seen.c), _A.kind == PART)
    )
    latest = _later(seen.c.latest, _A.received_at)
    return sa.select(
        seen.c.gate,
        seen.c.epoch,
        seen.c.lap,
        seen.c.trigger_id,
        _D.result_id,
        seen.c.lot,
        seen.c.at,
        latest.label("latest"),
        *_columns(seen.c.seen, seen.c.is_inspected, _is_young(seen.c.gate, latest, shape)),
        sa.case(
            (sa.and_(seen.c.waited == 1, _A.id.is_(None)), 1), else_=_is_elsewhere(seen.c.gate, seen.c.epoch, shape)
        ).label("is_elsewhere"),
    ).select_from(joined)


def _solo_parts(shape: _Shape, solo: Sequence[sa.BindParameter[str]]) -> sa.Select[Any]:
    """Rows without a trigger at gates for one part at a time. Each row is a part."""
    joined = results.outerjoin(decisions, sa.and_(_D.result_id == _R.result_id, _D.trigger_id.is_(None))).outerjoin(
        gate_actions, sa.and_(_A.result_id == _R.result_id, _A.kind == IN_FLIGHT)
    )
    latest = _later(_R.received_at, _A.received_at)
    is_inspected = sa.case((_R.mode == GateMode.AUTO.value, 1), else_=0)
    return (
        sa.select(
            _R.gate,
            _R.epoch,
            _R.lap,
            _R.trigger_id,
            _R.result_id,
            _R.lot,
            _R.received_at.label("at"),
            latest.label("latest"),
            *_columns(_seen_rank(), is_inspected, _is_young(_R.gate, latest, shape)),
            _is_elsewhere(_R.gate, _R.epoch, shape).label("is_elsewhere"),
        )
        .select_from(joined)
        .where(_R.gate.in_(solo), _R.trigger_id.is_(None), ~_R.simulated, ~_R.shadow, *_selected(shape, _R))
    )


def _unseen_parts(shape: _Shape, solo: Sequence[sa.BindParameter[str]]) -> sa.Select[Any]:
    """Reports about parts without any row."""
    joined = gate_actions.outerjoin(
        decisions, sa.and_(_is_part_of(_D, _A), _D.trigger_id.is_not(None), _A.kind == PART)
    )
    row = sa.select(sa.literal(1)).select_from(results)
    has_row = row.where(_is_part_of(_R, _A), _R.gate.is_not(None), _R.trigger_id.is_not(None), ~_R.simulated).exists()
    is_solo = sa.and_(_A.kind == IN_FLIGHT, _A.result_id.is_(None), _A.gate.in_(solo)) if solo else sa.false()
    # A decision proves that there was a row, which has been pruned since.
    seen = sa.case((_D.cause.is_(None), 0), (_D.cause.in_(_JUDGED_CAUSES), 2), else_=1)
    is_inspected = sa.case((_A.mode == GateMode.AUTO.value, 1), else_=0)
    return (
        sa.select(
            _A.gate,
            _A.epoch,
            _A.lap,
            sa.case((_A.kind == PART, _A.trigger_id)).label("trigger_id"),
            _D.result_id,
            _A.lot,
            _A.received_at.label("at"),
            _A.received_at.label("latest"),
            *_columns(seen, is_inspected, _is_young(_A.gate, _A.received_at, shape)),
            _is_elsewhere(_A.gate, _A.epoch, shape).label("is_elsewhere"),
        )
        .select_from(joined)
        .where(sa.or_(sa.and_(_A.kind == PART, ~has_row), is_solo), *_selected(shape, _A))
    )


def _columns(seen: Any, is_inspected: Any, is_young: Any) -> list[sa.Label[Any]]:
    return [
        _D.action.label("decided"),
        sa.case((_D.sent > 0, 1), else_=0).label("is_told"),
        seen.label("seen"),
        _A.action.label("act"),
        _A.source.label("src"),
        _A.done.label("done"),
        is_young.label("is_young"),
        is_inspected.label("is_inspected"),
    ]


def _seen_rank() -> sa.ColumnElement[int]:
    """0: the row has no frame, 1: a frame that was not judged, 2: a judged frame."""
    return sa.case((_R.frame_sha256.is_(None), 0), (_R.outcome.in_(_JUDGED), 2), else_=1)


def _is_part_of(columns: Any, part: Any) -> sa.ColumnElement[bool]:
    names = ("gate", "epoch", "lap", "trigger_id")
    return sa.and_(*(columns[name] == part[name] for name in names))


def _later(known: Any, reported: Any) -> sa.ColumnElement[Any]:
    return sa.case((reported > known, reported), else_=known)


def _is_young(gate: Any, latest: Any, shape: _Shape) -> sa.ColumnElement[int]:
    young = [
        sa.and_(gate == _text(f"name{number}"), latest > _time(f"young{number}")) for number in range(len(shape.terms))
    ]
    return sa.case((sa.or_(sa.false(), *young), 1), else_=0)


def _is_elsewhere(gate: Any, epoch: Any, shape: _Shape) -> sa.ColumnElement[int]:
    """1 for a part of an epoch that another agent began and in which no decision of this ledger was sent."""
    of = decisions.alias("of_epoch")
    told = sa.select(of.c.id).where(of.c.gate == gate, of.c.epoch == epoch, of.c.sent > 0).correlate_except(of)
    runs = [
        sa.and_(
            gate == _text(f"name{number}"),
            epoch.between(_epoch(f"first{number}of{run}"), _epoch(f"last{number}of{run}")),
        )
        for number, (_, count) in enumerate(shape.terms)
        for run in range(count)
    ]
    if not runs:
        return sa.literal(0)
    return sa.case((sa.and_(sa.or_(*runs), ~sa.exists(told)), 1), else_=0)


def _selected(shape: _Shape, columns: Any) -> list[sa.ColumnElement[bool]]:
    """Rows of the selected parts, and a few more: the views of a part come at different times."""
    conditions = {
        "gate": columns.gate == _text("gate"),
        "lot": columns.lot == _text("lot"),
        "since": columns.received_at >= _time("rows_since"),
        "until": columns.received_at < _time("rows_until"),
    }
    return [condition for name, condition in conditions.items() if name in shape.bounds]


def _ends(columns: Any, shape: _Shape) -> list[sa.ColumnElement[bool]]:
    conditions = {
        "since": columns.at >= _time("since"),
        "until": columns.at < _time("until"),
        "after": columns.latest > _time("after"),
        "through": columns.latest <= _time("through"),
    }
    return [condition for name, condition in conditions.items() if name in shape.bounds]


def _has(columns: Any, facts: PartFacts) -> sa.ColumnElement[bool]:
    values = {
        "decided": None if facts.decided is None else facts.decided.value,
        "is_told": int(facts.is_told),
        "seen": _SEEN.index(facts.seen),
        "act": None if facts.ack is None else facts.ack.action,
        "src": None if facts.ack is None else facts.ack.source,
        "done": None if facts.ack is None else facts.ack.done,
        "is_young": int(facts.is_young),
        "is_inspected": int(facts.is_inspected),
        "is_elsewhere": int(facts.is_elsewhere),
    }
    return sa.and_(*(columns[n].is_(None) if value is None else columns[n] == value for n, value in values.items()))


def _hour(at: Any, *, is_sqlite: bool) -> sa.ColumnElement[str]:
    if is_sqlite:
        return sa.func.substr(sa.type_coerce(at, sa.String), 1, 13, type_=sa.String)
    return sa.func.to_char(sa.func.timezone("UTC", at), 'YYYY-MM-DD"T"HH24', type_=sa.String)


def _facts(row: Mapping[Any, Any]) -> PartFacts:
    try:
        return PartFacts(
            decided=None if row["decided"] is None else Action(row["decided"]),
            is_told=bool(row["is_told"]),
            seen=_SEEN[row["seen"]],
            ack=None if row["act"] is None else Ack(row["act"], row["src"], row["done"]),
            is_young=bool(row["is_young"]),
            is_inspected=bool(row["is_inspected"]),
            is_elsewhere=bool(row["is_elsewhere"]),
        )
    except ValueError as error:
        raise RowDamaged(
            f"A decision or an acknowledgement about a part of gate {row['gate']} can't be read ({error}); mend it in "
            "the database, or restore it from a backup."
        ) from error


def _part(row: Mapping[Any, Any]) -> Part:
    return Part(
        gate=row["gate"],
        epoch=row["epoch"],
        lap=row["lap"],
        trigger_id=row["trigger_id"],
        result_id=None if row["result_id"] is None else ResultId(row["result_id"]),
        lot=row["lot"],
        at=row["at"],
        latest=row["latest"],
        facts=_facts(row),
    )


async def _rows(
    database: Database, query: sa.Select[Any], values: Mapping[str, Any] | None = None
) -> Sequence[sa.RowMapping]:
    async with database.reading_once() as connection:
        rows: Sequence[sa.RowMapping] = (await connection.execute(query, values)).mappings().all()
        return rows
