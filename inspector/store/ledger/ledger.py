"""The ledger: results, decisions, gates and events in SQL, on SQLite and PostgreSQL alike.

`record` is one durable transaction, and the first row of a result id is never changed, except that the row of a missed
part is corrected when its frame comes after all. A row that the database
refuses does not delay the other rows: it is stored without its metadata, or else as an event.
This module does not depend on frames, brokers or the journal.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Self

import sqlalchemy as sa

from inspector.domain import (
    AckContradiction,
    Action,
    AgentPresence,
    Challenge,
    ChallengeResult,
    CommandRecord,
    Correction,
    Decision,
    Event,
    GateAction,
    GateOwner,
    GateState,
    GivenOrder,
    LateOutcome,
    Order,
    Part,
    PartCount,
    PartSelection,
    ResultId,
    Severity,
    ShadowResult,
    Sighting,
    Verdict,
)
from inspector.errors import LedgerUnavailable
from inspector.ports import Clock
from inspector.store import audit, tables
from inspector.store.database import Database
from inspector.store.faults import is_refused_row
from inspector.store.inserts import insert_into
from inspector.store.ledger.acks import epoch_query, write_acks
from inspector.store.ledger.challenges import end_challenge, find_challenge, insert_challenge
from inspector.store.ledger.corrections import correct_misses
from inspector.store.ledger.events import events_about
from inspector.store.ledger.inspections import numbered
from inspector.store.ledger.owners import record_owned
from inspector.store.ledger.parts import count_parts, last_sign, list_parts
from inspector.store.row_mapping import (
    FINDING_COLUMNS,
    LATE_COLUMNS,
    SIGHTING_COLUMNS,
    command_row,
    decision_row,
    finding_row,
    gate_of,
    gate_row,
    reduced_row,
    sighting_of_row,
    storable,
    verdict_from_row,
    verdict_row,
)
from inspector.stream.gate_merging import COMMANDED_FIELDS, HOLD_FIELDS, WATCHED_FIELDS
from inspector.stream.verdict_record import journal_record

_LOG = logging.getLogger(__name__)
_IDS_PER_QUERY = 500
_OUTCOMES = sa.select(tables.results.c.result_id, tables.results.c.outcome, tables.results.c.agent).where(
    tables.results.c.result_id.in_(sa.bindparam("ids", expanding=True))
)
_WORSE = {Action.NONE: 0, Action.PASS: 1, Action.QUARANTINE: 2, Action.REJECT: 3}


class SqlLedger:
    """The port `Ledger` on a `Database`, which the caller opens and closes.

    Entering checks the schema, and raises SchemaOutdated if the schema is not this software's. If the database is
    unavailable at that time, the first call that reaches it checks the schema.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self._clock = clock
        self._corrections: list[Correction] = []

    async def __aenter__(self) -> Self:
        try:
            await self.database.ensure_current()
        except LedgerUnavailable as error:
            # An agent must start even if the database is unavailable: until it is back, the journal is the store.
            _LOG.warning("starting without the database: %s", error)
        return self

    async def __aexit__(self, *exc: object) -> None: ...

    async def record(
        self, verdicts: Sequence[Verdict], decisions: Sequence[tuple[Decision, bool | None]], gates: Sequence[GateState]
    ) -> list[ResultId]:
        await self.database.ensure_current()
        try:
            return await self._record(verdicts, decisions, gates)
        except LedgerUnavailable as error:
            if not _is_refusal(error):
                raise
            _LOG.error("the database refused a row of %d, writing them one by one: %s", len(verdicts), error.__cause__)
        conflicting: list[ResultId] = []
        for verdict in verdicts:
            conflicting += await self._record_alone(verdict)
        conflicting += await self._record([], decisions, gates)
        return conflicting

    async def amend(self, findings: Sequence[Verdict]) -> list[ResultId]:
        await self.database.ensure_current()
        if not findings:
            return []
        rows = [{"its_id": finding.result_id, **_renamed(finding_row(finding))} for finding in findings]
        columns = tables.results.c
        values: dict[str, Any] = {name: _parameter(name) for name in (*LATE_COLUMNS, "regions")}
        values |= {name: sa.func.coalesce(columns[name], _parameter(name)) for name in FINDING_COLUMNS}
        is_waiting = columns.late_outcome == LateOutcome.WAITING.value
        statement = sa.update(tables.results).where(columns.result_id == sa.bindparam("its_id"), is_waiting)
        changing = statement.values(values)

        def write(connection: sa.Connection) -> dict[ResultId, tuple[str, str]]:
            connection.execute(changing, rows)
            return _stored_outcomes(connection, [finding.result_id for finding in findings])

        stored = await self.database.write(write)
        return [finding.result_id for finding in findings if finding.result_id not in stored]

    async def waiting(self, agent: str, limit: int, after: ResultId | None = None) -> list[Verdict]:
        await self.database.ensure_current()
        columns = tables.results.c
        last = sa.select(columns.seq).where(columns.result_id == after).scalar_subquery()
        query = (
            sa.select(tables.results)
            .where(columns.late_outcome == LateOutcome.WAITING.value, columns.agent == storable(agent))
            .where(columns.seq > sa.func.coalesce(last, 0))
            .order_by(columns.seq)
            .limit(limit)
        )
        async with self.database.reading() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [verdict_from_row(row) for row in rows]

    def take_corrections(self) -> list[Correction]:
        corrections, self._corrections = self._corrections, []
        return corrections

    async def load_gates(self, names: Sequence[str] | None = None) -> dict[str, GateState]:
        await self.database.ensure_current()
        query = sa.select(tables.gates)
        if names is not None:
            query = query.where(tables.gates.c.name.in_(names))
        async with self.database.reading() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return {row["name"]: gate_of(row) for row in rows}

    async def told_parts(self, gate: str, limit: int) -> list[tuple[int, int, int, Action]]:
        await self.database.ensure_current()
        columns = tables.decisions.c
        key = (columns.epoch, columns.lap, columns.trigger_id)
        query = sa.select(*key, columns.action).where(columns.gate == gate, columns.trigger_id.is_not(None))
        query = query.order_by(*(column.desc() for column in key)).limit(limit)
        async with self.database.reading() as connection:
            rows = (await connection.execute(query)).all()
        return [(row.epoch, row.lap, row.trigger_id, Action(row.action)) for row in reversed(rows)]

    async def sightings(self, camera: str, limit: int) -> list[Sighting]:
        await self.database.ensure_current()
        query = (
            sa.select(*(tables.results.c[name] for name in SIGHTING_COLUMNS))
            .where(tables.results.c.camera == camera, tables.results.c.frame_sha256.is_not(None))
            .order_by(tables.results.c.seq.desc())
            .limit(limit)
        )
        async with self.database.reading() as connection:
            rows = (await connection.execute(query)).mappings().all()
        newest = sorted({row["epoch"] for row in rows})[-2:]  # a gate that was another agent's has skipped epochs
        return [sighting_of_row(row) for row in reversed(rows) if row["epoch"] in newest]

    async def record_events(self, events: Sequence[Event]) -> None:
        await self.database.ensure_current()
        await self.database.write(lambda connection: _insert_events(connection, events))

    async def events_of(self, subject: str, kinds: Collection[str], since: datetime) -> list[Event]:
        await self.database.ensure_current()
        return await events_about(self.database, subject, kinds, since)

    async def last_sign(self, gate: str, before: datetime) -> datetime | None:
        await self.database.ensure_current()
        return await last_sign(self.database, gate, before)

    async def record_command(
        self, command: CommandRecord, gates: Sequence[GateState], challenge: Challenge | None = None
    ) -> bool:
        await self.database.ensure_current()
        now = self._clock.now()
        async with self.database.writing() as connection:
            await audit.hold_lock(connection)
            is_known = sa.select(tables.commands.c.id).where(
                tables.commands.c.cmd_id == storable(command.cmd_id), tables.commands.c.agent == command.agent
            )
            if (await connection.execute(is_known)).first() is not None:
                return False
            await connection.execute(tables.commands.insert(), command_row(command))
            for order in command.orders:
                why = f"{command.reason} (command {command.cmd_id})"
                change = audit.Change(command.by, _object(order.owner, order.what), order.old, order.new, why)
                await audit.append(connection, now, change)
            if gates:
                await connection.run_sync(_upsert_gates, [gate_row(state, now) for state in gates])
            if challenge is not None:
                await insert_challenge(connection, challenge)
        return True

    async def last_order(self, owner: str, what: str) -> GivenOrder | None:
        await self.database.ensure_current()
        entry = await audit.newest(self.database, _object(owner, what))
        if entry is None:
            return None
        return GivenOrder(Order(owner, what, entry.old or "", entry.new or ""), entry.user, entry.reason, entry.at)

    async def record_challenge(
        self, challenge: Challenge, gate: GateState, was: ChallengeResult = ChallengeResult.OPEN
    ) -> bool:
        await self.database.ensure_current()
        now = self._clock.now()
        async with self.database.writing() as connection:
            await audit.hold_lock(connection)
            is_ended = await end_challenge(connection, challenge, was)
            if is_ended:
                why = f"{challenge.reason} (challenge {challenge.challenge_id}): {challenge.detail}"
                named = f"gate/{challenge.gate}/golden"
                change = audit.Change(challenge.by, named, was.value, challenge.result.value, why)
                await audit.append(connection, now, change)
            if is_ended or challenge.result is ChallengeResult.FAILED:
                await connection.run_sync(_upsert_gates, [gate_row(gate, now)])
        return is_ended

    async def load_challenge(self, challenge_id: str, gate: str) -> Challenge | None:
        await self.database.ensure_current()
        return await find_challenge(self.database, challenge_id, gate)

    async def record_gate_actions(self, actions: Sequence[GateAction]) -> list[AckContradiction]:
        await self.database.ensure_current()
        if not actions:
            return []
        return await self.database.write(lambda connection: write_acks(connection, actions))

    async def has_epoch(self, gate: str, epoch: int) -> bool:
        await self.database.ensure_current()
        async with self.database.reading() as connection:
            return bool((await connection.execute(epoch_query(gate, epoch, _object(gate, "epoch")))).scalar_one())

    async def parts(self, wanted: PartSelection, limit: int) -> list[Part]:
        await self.database.ensure_current()
        return await list_parts(self.database, wanted, limit=limit)

    async def count_parts(self, wanted: PartSelection) -> list[PartCount]:
        await self.database.ensure_current()
        return await count_parts(self.database, wanted)

    async def record_owned(
        self, presence: AgentPresence, gates: Mapping[str, int], dead: Mapping[str, Collection[str]]
    ) -> list[GateOwner]:
        await self.database.ensure_current()
        async with self.database.writing() as connection:
            return await record_owned(connection, presence, gates, dead, self._clock.now())

    async def record_shadow_results(self, results: Sequence[ShadowResult]) -> None:
        await self.database.ensure_current()
        if not results:
            return
        rows = [
            {
                "result_id": result.result_id,
                "camera": result.camera,
                "product": result.product,
                "product_version": result.product_version,
                "outcome": result.outcome.value,
                "level": storable(result.level),
                "score": storable(result.score),
                "threshold": storable(result.threshold),
                "score_ms": storable(result.score_ms),
                "artifact_digest": result.artifact_digest,
                "detail": storable(result.detail),
                "decided_at": result.decided_at,
            }
            for result in results
        ]
        async with self.database.writing() as connection:
            await connection.execute(
                insert_into(tables.shadow_results, connection.dialect.name).on_conflict_do_nothing(), rows
            )

    async def _record(
        self, verdicts: Sequence[Verdict], decided: Sequence[tuple[Decision, bool | None]], states: Sequence[GateState]
    ) -> list[ResultId]:
        now = self._clock.now()

        def write(connection: sa.Connection) -> tuple[list[ResultId], list[Correction]]:
            conflicting, own = self._insert_verdicts(connection, verdicts)
            corrections = correct_misses(connection, verdicts)
            if decided:
                _write_decisions(connection, decided, now)
                _note_published(connection, own, decided)
            if states:
                _upsert_gates(connection, [gate_row(state, now) for state in states])
            return conflicting, corrections

        conflicting, corrections = await self.database.write(write)
        self._corrections += corrections
        return conflicting

    def _insert_verdicts(
        self, connection: sa.Connection, verdicts: Sequence[Verdict]
    ) -> tuple[list[ResultId], list[Verdict]]:
        """The results that the ledger holds otherwise, and the verdicts whose row is not another agent's."""
        if not verdicts:
            return [], []
        rows = numbered(connection, [verdict_row(verdict) for verdict in verdicts])
        connection.execute(_results_insert(connection.dialect.name), rows)
        stored = _stored_outcomes(connection, [verdict.result_id for verdict in verdicts])
        refused = [verdict for verdict in verdicts if stored[verdict.result_id][0] != verdict.outcome.value]
        if refused:
            found = [self._conflict_row(verdict, *stored[verdict.result_id]) for verdict in refused]
            connection.execute(insert_into(tables.conflicts, connection.dialect.name).on_conflict_do_nothing(), found)
        own = [verdict for verdict in verdicts if stored[verdict.result_id][1] == storable(verdict.agent)]
        return [verdict.result_id for verdict in refused], own

    def _conflict_row(self, verdict: Verdict, outcome: str, agent: str) -> dict[str, Any]:
        return {
            "at": self._clock.now(),
            "result_id": verdict.result_id,
            "stored_outcome": outcome,
            "stored_agent": agent,
            "refused_outcome": verdict.outcome.value,
            "refused_agent": storable(verdict.agent),
            "refused_record": {key: storable(value) for key, value in journal_record(verdict).items()},
        }

    async def _record_alone(self, verdict: Verdict) -> list[ResultId]:
        """Insert the row; if it is refused, the row without its metadata; if that is refused too, an event about it."""
        try:
            return await self._record([verdict], [], [])
        except LedgerUnavailable as error:
            if not _is_refusal(error):
                raise
            why = str(error.__cause__).splitlines()[0]
        try:
            await self.database.write(
                lambda connection: connection.execute(
                    _results_insert(connection.dialect.name), reduced_row(verdict, why)
                )
            )
            return []
        except LedgerUnavailable as error:
            if not _is_refusal(error):
                raise
        lost = Event(
            self._clock.now(), "row_refused", Severity.ALARM, verdict.camera, f"{why}: {journal_record(verdict)}"
        )
        await self.database.write(lambda connection: _insert_events(connection, [lost]))
        return []


def _is_refusal(error: LedgerUnavailable) -> bool:
    return isinstance(error.__cause__, Exception) and is_refused_row(error.__cause__)


@cache  # to build a statement and its cache key costs the event loop more than to run it
def _results_insert(dialect: str) -> Any:
    return insert_into(tables.results, dialect).on_conflict_do_nothing(index_elements=["result_id"])


def _parameter(name: str) -> sa.BindParameter[Any]:
    """The parameter for a column's new value. A parameter must not have the name of a column that is updated."""
    return sa.bindparam(f"new_{name}", type_=tables.results.c[name].type)


def _renamed(row: dict[str, Any]) -> dict[str, Any]:
    return {f"new_{name}": value for name, value in row.items()}


def _stored_outcomes(connection: sa.Connection, result_ids: Sequence[ResultId]) -> dict[ResultId, tuple[str, str]]:
    """Outcome and agent of the rows that exist already, by result id."""
    stored: dict[ResultId, tuple[str, str]] = {}
    for start in range(0, len(result_ids), _IDS_PER_QUERY):
        rows = connection.execute(_OUTCOMES, {"ids": result_ids[start : start + _IDS_PER_QUERY]})
        stored.update({row.result_id: (row.outcome, row.agent) for row in rows})
    return stored


def _note_published(
    connection: sa.Connection, own: Sequence[Verdict], decided: Sequence[tuple[Decision, bool | None]]
) -> None:
    """Note in the rows of other views, and of other agents, that a decision which names them went out, or may have.

    `own`: the verdicts whose rows say of themselves whether it did.
    """
    said = {verdict.result_id: verdict.published for verdict in own}
    rows = [
        {"its_id": decision.result_id, "new_published": is_published}
        for decision, is_published in decided
        if is_published is not False and said.get(decision.result_id, False) is False
    ]
    if rows:
        connection.execute(_publication(), rows)


@cache
def _publication() -> sa.Update:
    columns = tables.results.c
    statement = sa.update(tables.results).where(
        columns.result_id == sa.bindparam("its_id"), columns.published.is_(False)
    )
    return statement.values(published=_parameter("published"))


def _write_decisions(connection: sa.Connection, decided: Sequence[tuple[Decision, bool | None]], now: datetime) -> None:
    # What is unknown, the ack of the part shows.
    rows = [decision_row(decision, is_sent=is_published is True, now=now) for decision, is_published in decided]
    _upsert_decisions(connection, rows)


def _upsert_decisions(connection: sa.Connection, rows: Iterable[dict[str, Any]]) -> None:
    """Keep the worst action of a part, with its cause and result. `sent` counts all decisions that were sent."""
    by_key: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for row in rows:
        by_key[row["trigger_id"] is None].append(row)
    for in_flight, same_key in by_key.items():
        if same_key:
            connection.execute(_decisions_upsert(connection.dialect.name, in_flight), same_key)


@cache
def _decisions_upsert(dialect: str, in_flight: bool) -> Any:
    statement = insert_into(tables.decisions, dialect)
    new = statement.excluded
    is_worse = _rank(new.action) > _rank(tables.decisions.c.action)
    replaced = {
        name: sa.case((is_worse, new[name]), else_=tables.decisions.c[name])
        for name in ("action", "cause", "result_id", "act_before")
    }
    keys = ["result_id"] if in_flight else ["gate", "epoch", "lap", "trigger_id"]
    condition = tables.decisions.c.trigger_id.is_(None) if in_flight else tables.decisions.c.trigger_id.is_not(None)
    return statement.on_conflict_do_update(
        index_elements=keys,
        index_where=condition,
        set_={**replaced, "sent": tables.decisions.c.sent + new.sent, "updated_at": new.updated_at},
    )


def _rank(action: sa.ColumnElement[str]) -> sa.ColumnElement[int]:
    return sa.case({word.value: rank for word, rank in _WORSE.items()}, value=action, else_=0)


def _object(owner: str, what: str) -> str:
    """The name in the audit of one thing about a gate (or a camera without a gate)."""
    return f"gate/{owner}/{what}"


def _upsert_gates(connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Keep the state with the higher count. A state that is behind comes from an agent that has lost the gate.

    What is known about holds is merged in any case, as `gate_merging` says: only a release ends a hold.
    """
    connection.execute(_gates_upsert(connection.dialect.name), rows)


@cache
def _gates_upsert(dialect: str) -> Any:
    statement = insert_into(tables.gates, dialect)
    new, old = statement.excluded, tables.gates.c
    is_further = sa.or_(
        new.epoch > old.epoch,
        sa.and_(
            new.epoch == old.epoch, sa.func.coalesce(new.last_trigger, -1) >= sa.func.coalesce(old.last_trigger, -1)
        ),
    )
    replaced: dict[str, sa.ColumnElement[Any]] = {
        column.name: sa.case((is_further, new[column.name]), else_=column)
        for column in tables.gates.c
        if column.name != "name"
    }
    for name in COMMANDED_FIELDS:  # a state made before a command must not undo it
        replaced[name] = sa.case((sa.and_(is_further, new.orders >= old.orders), new[name]), else_=old[name])
    replaced |= _merged_holds(new, old, is_further)
    return statement.on_conflict_do_update(index_elements=["name"], set_=replaced)


def _merged_holds(new: Any, old: Any, is_further: sa.ColumnElement[bool]) -> dict[str, sa.ColumnElement[Any]]:
    is_released_since, is_as_released = new.releases > old.releases, new.releases == old.releases
    is_newer = sa.or_(new.watched > old.watched, sa.and_(new.watched == old.watched, is_further))
    is_ahead = sa.or_(is_released_since, sa.and_(is_as_released, is_newer))
    merged: dict[str, sa.ColumnElement[Any]] = {
        name: sa.case((is_ahead, new[name]), else_=old[name]) for name in WATCHED_FIELDS
    }
    merged["held"] = sa.case(
        (is_released_since, new.held), (is_as_released, sa.or_(old.held, new.held)), else_=old.held
    )
    for name in HOLD_FIELDS:
        either = sa.case((is_ahead, sa.func.coalesce(new[name], old[name])), else_=old[name])
        merged[name] = sa.case(
            (is_released_since, new[name]), (is_as_released, sa.func.coalesce(either, new[name])), else_=old[name]
        )
    return merged


def _insert_events(connection: sa.Connection, happened: Sequence[Event]) -> None:
    rows = [
        {
            "at": event.at,
            "kind": event.kind,
            "severity": event.severity.value,
            "subject": storable(event.subject),
            "detail": storable(event.detail),
        }
        for event in happened
    ]
    if rows:
        connection.execute(tables.events.insert(), rows)
