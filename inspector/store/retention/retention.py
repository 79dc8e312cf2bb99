"""Removes old rows by the configured rules, a batch at a time, so that no writer waits for long.

A batch is a short transaction that continues where the last batch ended and reads the holds anew; held rows stay.
The pause between two batches is as long as the last batch took. Rows that no rule names, and products, versions,
audit, reviews, holds and states of gates are never removed. What becomes of exported graphs is in `graphs`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from inspector.config.sections import RetentionSection
from inspector.domain import Outcome
from inspector.ports import Clock
from inspector.store import audit, tables
from inspector.store.database import Database
from inspector.store.retention import holds
from inspector.store.retention.holds import Hold

BATCH_ROWS: Final = 1000
LEAST_PAUSE_S: Final = 0.005
MOST_COUNTED: Final = 1_000_000

Report = Callable[[str, int, int], None]
"""Called with (rule, rows looked at, rows in all)."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Rows of one table with a time in column `at` before `before`, further selected by `wanted`."""

    name: str
    at: sa.Column[datetime]
    before: datetime
    wanted: tuple[sa.ColumnElement[bool], ...] = ()

    @property
    def table(self) -> Any:
        return self.at.table


@dataclass(frozen=True, slots=True)
class Pruned:
    """Result of one rule, also of a dry run: rows removed, and rows of that age that a hold keeps."""

    rule: str
    before: datetime
    taken: int
    held: int


def rules(section: RetentionSection, now: datetime) -> list[Rule]:
    """The configured rules, with their time limits counted back from now."""
    results = tables.results.c
    days_of = {
        Outcome.PASS: section.passes_days,
        Outcome.REJECT: section.rejects_days,
        Outcome.UNJUDGED: section.unjudged_days,
        Outcome.UNINSPECTED: section.unjudged_days,
    }
    made = [
        Rule(outcome.value, results.received_at, now - timedelta(days=days), (results.outcome == outcome.value,))
        for outcome, days in days_of.items()
        if days is not None
    ]
    aged = (
        ("decisions", tables.decisions.c.updated_at, section.decisions_days),
        ("gate_actions", tables.gate_actions.c.received_at, section.decisions_days),
        ("shadow_results", tables.shadow_results.c.decided_at, section.decisions_days),
        ("conflicts", tables.conflicts.c.at, section.decisions_days),
        ("events", tables.events.c.at, section.events_days),
        ("commands", tables.commands.c.received_at, section.events_days),  # repeats are refused by age long before
    )
    return made + [Rule(name, at, now - timedelta(days=days)) for name, at, days in aged if days is not None]


async def prune(
    database: Database,
    clock: Clock,
    section: RetentionSection,
    *,
    dry_run: bool = False,
    report: Report = lambda _rule, _done, _total: None,
    batch_rows: int = BATCH_ROWS,
) -> list[Pruned]:
    """Remove the rows that a rule names and no hold keeps; one result for each configured rule."""
    pruned = []
    for rule in rules(section, clock.now()):
        walk = _Walk(database, rule, dry_run=dry_run, batch_rows=batch_rows)
        total = await _count(database, rule)
        while not walk.is_done:
            began = time.perf_counter()
            await walk.step()
            report(rule.name, walk.seen, max(total, walk.seen))
            await clock.sleep(max(LEAST_PAUSE_S, time.perf_counter() - began))
        pruned.append(Pruned(rule.name, rule.before, walk.taken, walk.held))
    return pruned


class _Walk:
    """Goes through the rows of one rule, oldest first. Held rows are skipped and not read again."""

    def __init__(self, database: Database, rule: Rule, *, dry_run: bool, batch_rows: int) -> None:
        self._database = database
        self._rule = rule
        self._dry_run = dry_run
        self._batch_rows = batch_rows
        self._place: tuple[datetime, int] | None = None
        self._held: list[Hold] | None = None
        self._is_held: sa.ColumnElement[bool] = sa.false()
        self.is_done = False
        self.taken = 0
        self.held = 0

    @property
    def seen(self) -> int:
        return self.taken + self.held

    async def step(self) -> None:
        """One batch in one transaction."""
        opened = self._database.reading() if self._dry_run else self._database.writing()
        async with opened as connection:
            if not self._dry_run:
                await audit.hold_lock(connection)  # no hold may be added between reading them and removing the rows
            await self._look_at_holds(connection)
            rows = (await connection.execute(self._query())).all()
            leaving = [row.number for row in rows if not row.is_held]
            if leaving and not self._dry_run:
                (key,) = self._rule.table.primary_key
                await connection.execute(sa.delete(self._rule.table).where(key.in_(leaving)))
        self.taken += len(leaving)
        self.held += len(rows) - len(leaving)
        self.is_done = len(rows) < self._batch_rows
        if rows:
            self._place = rows[-1].at, rows[-1].number

    async def _look_at_holds(self, connection: AsyncConnection) -> None:
        held = await holds.active(connection)
        if held != self._held:
            self._held = held
            self._is_held = await _held_condition(connection, self._rule, held)

    def _query(self) -> sa.Select[Any]:
        (key,) = self._rule.table.primary_key
        at = self._rule.at
        query = sa.select(key.label("number"), at.label("at"), self._is_held.label("is_held"))
        query = query.where(at < self._rule.before, *self._rule.wanted)
        if self._place is not None:
            last_at, last = self._place
            query = query.where(at >= last_at, sa.or_(at > last_at, key > last))
        return query.order_by(at, key).limit(self._batch_rows)


async def _held_condition(connection: AsyncConnection, rule: Rule, held: Sequence[Hold]) -> sa.ColumnElement[bool]:
    if not held:
        return sa.false()
    if rule.table is tables.results:
        return holds.covered(held)
    is_timely = holds.covered_in_time(rule.at, await holds.spans(connection, held))
    if rule.table is tables.gate_actions:  # a part that passed without any picture has nothing else
        return sa.or_(is_timely, holds.covered_by_lot(tables.gate_actions.c.lot, held))
    if rule.table in (tables.events, tables.commands):
        return is_timely
    by_result = holds.covered_by_result(rule.table.c.result_id, held)
    return sa.or_(by_result, is_timely) if rule.table is tables.decisions else by_result


async def _count(database: Database, rule: Rule) -> int:
    """Number of rows to look at, for a progress bar. The count stops at a bound, so that it stays quick."""
    old = sa.select(sa.literal(1)).select_from(rule.table).where(rule.at < rule.before, *rule.wanted)
    query = sa.select(sa.func.count()).select_from(old.limit(MOST_COUNTED).subquery())
    async with database.reading() as connection:
        return int((await connection.execute(query)).scalar_one())
