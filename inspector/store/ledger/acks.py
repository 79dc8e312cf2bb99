"""Writes reports of PLCs: one row for each part, with its repetitions and contradictions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from inspector.domain import AckContradiction, GateAction, GateMode, ResultId
from inspector.store.inserts import insert_into
from inspector.store.row_mapping import storable
from inspector.store.tables import audit, decisions, gate_actions, results
from inspector.stream.ack_merging import AckRow, Part, merge, part_of

PART, IN_FLIGHT = "part", "in_flight"
_IS_PART = gate_actions.c.kind == PART


def write_acks(connection: sa.Connection, actions: Sequence[GateAction]) -> list[AckContradiction]:
    """Write the reports in their order, in the caller's transaction. Returns the new contradictions."""
    nameless = [action for action in actions if action.in_flight]
    named = [action for action in actions if not action.in_flight]
    if nameless:
        _insert(connection, nameless, ["report_id"], IN_FLIGHT)
    if not named:
        return []
    first: dict[Part, GateAction] = {}
    for action in named:
        first.setdefault(part_of(action), action)
    _insert(connection, first.values(), ["gate", "epoch", "lap", "trigger_id"], PART)
    before = _rows(connection, first)
    after = {part: row for part, (_, row) in before.items()}
    contradictions = []
    for action in named:
        after[part_of(action)], contradiction = merge(after[part_of(action)], action)
        if contradiction is not None:
            contradictions.append(contradiction)
    for part, (number, row) in before.items():
        if after[part] != row:
            _update(connection, number, after[part])
    return contradictions


def epoch_query(gate: str, epoch: int, begun_as: str) -> sa.Select[Any]:
    """Whether there is a report, a part or a decision of this epoch, or the audit row of its beginning.

    Only what an index finds is looked at: an epoch that never was must not cost a look at every row.
    """
    by_part = [
        sa.exists().where(table.c.gate == gate, table.c.epoch == epoch, table.c.trigger_id.is_not(None))
        for table in (results, decisions)
    ]
    number = str(epoch)
    begun = sa.exists().where(
        audit.c.object == begun_as, sa.or_(audit.c.old_value == number, audit.c.new_value == number)
    )
    reported = sa.exists().where(gate_actions.c.gate == gate, gate_actions.c.epoch == epoch)
    return sa.select(sa.or_(reported, *by_part, begun))


def _insert(connection: sa.Connection, actions: Iterable[GateAction], key: list[str], kind: str) -> None:
    insert = insert_into(gate_actions, connection.dialect.name)
    rows = [_row(action) for action in actions]
    is_kind = sa.text(f"kind = '{kind}'")  # the condition of the index; SQLAlchemy takes no parameter here
    connection.execute(insert.on_conflict_do_nothing(index_elements=key, index_where=is_kind), rows)


def _rows(connection: sa.Connection, parts: Iterable[Part]) -> dict[Part, tuple[int, AckRow]]:
    """Number and content of each part's row, locked until the transaction ends."""
    triggers: dict[tuple[str, int, int], list[int]] = {}
    for gate, epoch, lap, trigger in parts:
        triggers.setdefault((gate, epoch, lap), []).append(trigger)
    found: dict[Part, tuple[int, AckRow]] = {}
    columns = gate_actions.c
    for (gate, epoch, lap), numbers in triggers.items():
        query = sa.select(gate_actions).where(
            _IS_PART, columns.gate == gate, columns.epoch == epoch, columns.lap == lap, columns.trigger_id.in_(numbers)
        )
        for row in connection.execute(query.with_for_update()).mappings():
            found[gate, epoch, lap, row["trigger_id"]] = row["id"], ack_row(row)
    return found


def _update(connection: sa.Connection, number: int, row: AckRow) -> None:
    changed = {"repeats": row.repeats, "others": list(row.others), "report_id": row.report_id}
    connection.execute(sa.update(gate_actions).where(gate_actions.c.id == number).values(changed))


def _row(action: GateAction) -> dict[str, Any]:
    return {
        "gate": action.gate,
        "epoch": action.epoch,
        "trigger_id": action.trigger_id,
        "action": action.action,
        "source": action.source,
        "done": action.done,
        "received_at": action.received_at,
        "lap": action.lap,
        "kind": IN_FLIGHT if action.in_flight else PART,
        "repeats": 0,
        "others": [],
        "report_id": action.report_id,
        "agent": action.agent,
        "result_id": action.result_id,
        "mode": action.mode.value,
        "lot": storable(action.lot),
        "job_id": storable(action.job_id),
    }


def ack_row(row: Mapping[Any, Any]) -> AckRow:
    """A row of `gate_actions`."""
    first = action_of(row)
    return AckRow(first, first.report_id, row["repeats"], tuple(row["others"]))


def action_of(row: Mapping[Any, Any]) -> GateAction:
    """The report in a row of `gate_actions`."""
    return GateAction(
        gate=row["gate"],
        epoch=row["epoch"],
        trigger_id=row["trigger_id"],
        action=row["action"],
        source=row["source"],
        done=row["done"],
        received_at=row["received_at"],
        lap=row["lap"],
        report_id=row["report_id"] or "",
        agent=row["agent"] or "",
        in_flight=row["kind"] == IN_FLIGHT,
        result_id=None if row["result_id"] is None else ResultId(row["result_id"]),
        mode=GateMode(row["mode"]),
        lot=row["lot"],
        job_id=row["job_id"],
    )
