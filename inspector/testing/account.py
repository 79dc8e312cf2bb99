"""Joins the rows of a ledger in memory into parts, as the SQL ledger does in the database."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from inspector.domain import (
    WAITED_ELSEWHERE,
    Ack,
    GateAction,
    GateMode,
    Outcome,
    Part,
    PartFacts,
    PartSelection,
    ResultId,
    Seen,
    Verdict,
)
from inspector.store.stored_records import StoredDecision

Key = tuple[str, int, int, int | None, ResultId | None]
"""Gate, epoch, lap and trigger; or, for a part that has no trigger, its result."""


def join_parts(
    rows: Iterable[Verdict],
    decisions: Iterable[StoredDecision],
    actions: Iterable[GateAction],
    wanted: PartSelection,
) -> list[Part]:
    """The selected parts, newest first."""
    solo = {terms.name for terms in wanted.terms if terms.is_solo}
    views: dict[Key, list[Verdict]] = {}
    for row in rows:
        if row.gate is None or row.simulated or row.shadow or (row.trigger_id is None and row.gate not in solo):
            continue
        views.setdefault(_key(row.gate, row.epoch, row.lap, row.trigger_id, row.result_id), []).append(row)
    decided = {_key(d.gate, d.epoch, d.lap, d.trigger_id, d.result_id): d for d in decisions}
    acks: dict[Key, GateAction] = {}
    for number, action in enumerate(actions):
        result_id = action.result_id or ResultId(f"report {number}")
        trigger_id = None if action.in_flight else action.trigger_id
        acks[_key(action.gate, action.epoch, action.lap, trigger_id, result_id)] = action
    told = {(decision.gate, decision.epoch) for decision in decided.values() if decision.sent}
    parts = [_part(key, views.get(key, []), decided.get(key), acks.get(key), wanted, told) for key in {**views, **acks}]
    return sorted((part for part in parts if _is_wanted(part, wanted)), key=lambda part: part.latest, reverse=True)


def _key(gate: str, epoch: int, lap: int, trigger_id: int | None, result_id: ResultId) -> Key:
    return (gate, epoch, lap, trigger_id, None) if trigger_id is not None else (gate, epoch, lap, None, result_id)


def _part(
    key: Key,
    views: Sequence[Verdict],
    decision: StoredDecision | None,
    action: GateAction | None,
    wanted: PartSelection,
    told_in: Collection[tuple[str, int]],
) -> Part:
    times = [view.received_at for view in views]
    at, latest = (min(times), max(times)) if times else (action.received_at, action.received_at)  # type: ignore[union-attr]  # a part has a row or a report
    latest = latest if action is None else max(latest, action.received_at)
    modes = [view.mode for view in views] or [action.mode if action else GateMode.AUTO]
    within = next((terms for terms in wanted.terms if terms.name == key[0]), None)
    has_waited = bool(views) and action is None and all(view.cause_detail == WAITED_ELSEWHERE for view in views)
    is_of_another = within is not None and within.has_elsewhere(key[1])
    facts = PartFacts(
        decided=None if decision is None else decision.action,
        is_told=decision is not None and decision.sent > 0,
        seen=_seen(views),
        ack=None if action is None else Ack(action.action, action.source, action.done),
        is_young=within is not None and latest > wanted.young_since(within),
        is_inspected=GateMode.AUTO in modes,
        is_elsewhere=has_waited or (is_of_another and (key[0], key[1]) not in told_in),
    )
    lot = next((view.lot for view in views if view.lot is not None), action.lot if action and not views else None)
    return Part(key[0], key[1], key[2], key[3], decision.result_id if decision else key[4], lot, at, latest, facts)


def _seen(views: Sequence[Verdict]) -> Seen:
    framed = [view for view in views if view.frame_sha256 is not None]
    if not framed:
        return Seen.NO_FRAME
    is_judged = any(view.outcome in (Outcome.PASS, Outcome.REJECT) for view in framed)
    return Seen.JUDGED if is_judged else Seen.UNJUDGED


def _is_wanted(part: Part, wanted: PartSelection) -> bool:
    return (
        wanted.gate in (None, part.gate)
        and wanted.lot in (None, part.lot)
        and (wanted.since is None or part.at >= wanted.since)
        and (wanted.until is None or part.at < wanted.until)
        and (wanted.after is None or part.latest > wanted.after)
        and (wanted.through is None or part.latest <= wanted.through)
    )
