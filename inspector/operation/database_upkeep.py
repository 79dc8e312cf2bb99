"""Upgrades and checks the database's tables, and prunes them by the rules of retention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from inspector.agent.clock import SystemClock
from inspector.config.config import Config
from inspector.errors import SchemaOutdated
from inspector.operation.opening import database_of, has_file, shown_url
from inspector.store import database as databases
from inspector.store.database import configured
from inspector.store.retention import pictures, retention
from inspector.store.retention.graphs import prune_graphs
from inspector.store.retention.leaps import note_pruned
from inspector.store.retention.retention import Pruned
from inspector.vision.routing.profile import routing_profile


@dataclass(frozen=True, slots=True)
class UpgradedDatabase:
    """`before`: the revision that the tables had, None where there were none. `revision`: the one they have now."""

    database: str
    before: str | None
    revision: str | None


@dataclass(frozen=True, slots=True)
class DatabaseCheck:
    """Whether the tables fit this software. `fault`: a sentence that says what to do where they don't, else None."""

    database: str
    revision: str | None
    fault: str | None


async def upgrade_database(config: Config) -> UpgradedDatabase:
    """Brings the tables to this software's revision and makes them where there are none. Every row is kept."""
    async with configured(config) as database:
        before = await database.revision() if has_file(database) else None
        await databases.upgrade(database)
        return UpgradedDatabase(shown_url(database), before, await database.revision())


async def check_database(config: Config) -> DatabaseCheck:
    """Check the tables without changing anything. A missing SQLite file is not made."""
    async with configured(config) as database:
        name = shown_url(database)
        if not has_file(database):
            return DatabaseCheck(name, None, f"There is no database {database.path} yet; run `inspector db upgrade`.")
        revision = await database.revision()
        try:
            await database.check_schema()
        except SchemaOutdated as error:
            return DatabaseCheck(name, revision, str(error))
        return DatabaseCheck(name, revision, None)


async def prune_database(config: Config, *, dry_run: bool, progress: Callable[[str, int, int], None]) -> list[Pruned]:
    """Removes rows and pictures that are older than the rules of retention say, except what a hold keeps.

    One entry for each rule that is configured, and one for exported graphs where some go that nothing needs. A dry run
    counts and removes nothing. An agent that took the clock for wrong prunes again afterwards.
    """
    clock, rules, state_dir = SystemClock(), config.retention, config.agent.state_dir
    async with database_of(config) as database:
        rows = await retention.prune(database, clock, rules, dry_run=dry_run, report=progress)
        rows += await pictures.prune_pictures(database, clock, state_dir, rules, dry_run=dry_run, report=progress)
        rows += await prune_graphs(database, clock, [routing_profile().graph.to_manifest()], dry_run=dry_run)
        if not dry_run and state_dir.is_dir():
            note_pruned(state_dir, clock.now())
        return rows
