"""Whether the clock may be believed before anything is removed by its age.

To a clock that is years ahead, as after a flat battery, everything is too old. An agent that finds the clock far beyond
the last time at which its store was pruned removes nothing until a person has pruned it, or the clock is set right.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from inspector.config.sections import RetentionSection
from inspector.files import read_regular, write_whole
from inspector.store import tables
from inspector.store.database import Database
from inspector.store.pictures.folders import translated
from inspector.stream.verdict_record import format_time, parse_time

LONGEST_LEAP: Final = timedelta(days=30)
"""A plant that stands still for longer has a person prune its store once."""

NOTE_NAME: Final = "pruned-at"
MOST_NOTE_BYTES: Final = 64


def has_rules(rules: RetentionSection) -> bool:
    """Whether anything is removed by its age."""
    return any(days is not None for name, days in rules if name.endswith("_days"))


async def find_leap(
    database: Database, state_dir: Path, rules: RetentionSection, now: datetime, since: datetime
) -> str | None:
    """What is wrong with the clock if it is too far ahead to remove anything by it; None if it may be believed.

    It is compared with the last pruning, else with the newest row from before `since`, when this agent started: its own
    rows have their times from the clock that is in doubt. Without rules it does not matter. A leap that is found by a
    row is noted, so that no row of this run vouches for the clock in the next one. Raises StateUnusable.
    """
    if not has_rules(rules):
        return None
    noted = _noted(state_dir)
    before = await newest_row(database, since) if noted is None else noted
    what = "the newest row before this run" if noted is None else "the last pruning"
    if before is None or now - before <= LONGEST_LEAP:
        return None
    if noted is None:
        await asyncio.to_thread(note_pruned, state_dir, before)
    return (
        f"the clock is {(now - before).days} days beyond {what} ({format_time(before)}), so that nothing is removed by "
        "its age; if it is right, run `inspector db prune`, else set it"
    )


def note_pruned(state_dir: Path, now: datetime) -> None:
    """Note when the store was pruned. Raises StateUnusable where that can't be written."""
    with translated(state_dir):
        write_whole(state_dir / NOTE_NAME, format_time(now).encode())


def _noted(state_dir: Path) -> datetime | None:
    try:
        return parse_time(read_regular(state_dir / NOTE_NAME, MOST_NOTE_BYTES).decode())
    except (OSError, ValueError):
        return None  # the newest row says enough


async def newest_row(database: Database, before: datetime | None = None) -> datetime | None:
    """When the frame of the newest row was received; None if there is no row. Raises LedgerUnavailable.

    `before`: only frames that were received earlier count.
    """
    received_at = tables.results.c.received_at
    query = sa.select(sa.func.max(received_at))
    async with database.reading() as connection:
        found: datetime | None = await connection.scalar(query if before is None else query.where(received_at < before))
        return found
