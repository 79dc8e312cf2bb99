"""The frames in question after an escape as a CSV file: one line for each, with its lot, part and shift."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, TextIO

from inspector.config.config import Config
from inspector.domain import Outcome, ResultId, Verdict
from inspector.operation.containment import Containment, shift_of
from inspector.operation.csv_cells import cell
from inspector.operation.opening import database_of
from inspector.operation.rejudging import JudgedAgain
from inspector.store.database import Database
from inspector.store.ledger.containment import NEAR_LEVEL
from inspector.store.ledger.queries import ResultFilter, each_result
from inspector.stream.verdict_record import format_time

CSV_COLUMNS: Final = (
    "lot", "part_id", "gate", "epoch", "trigger_id", "camera", "received_at", "shift", "product", "product_version",
    "threshold", "outcome", "cause", "cause_detail", "action", "level", "near", "result_id", "flipped_to_level",
)  # fmt: skip


def write_csv(config: Config, found: Containment, file: TextIO) -> int:
    """One line for each frame in question, oldest first. Returns their number. Blocks."""
    again = {} if found.rescored is None else {flip.verdict.result_id: flip.again for flip in found.rescored.flips}
    writer = csv.writer(file)
    writer.writerow(CSV_COLUMNS)
    return asyncio.run(_write_lines(config, found, again, writer.writerow))


async def lines_in(
    database: Database, found: Containment, again: Mapping[ResultId, JudgedAgain] | None = None
) -> AsyncIterator[list[Any]]:
    """The cells of each frame in question, oldest first, in the order of `CSV_COLUMNS`. `again`: flips by result id."""
    wanted = found.suspicion
    selected = ResultFilter(
        camera=wanted.camera, lot=wanted.lot, simulated=False, since=wanted.since, until=wanted.until
    )
    async for verdict in each_result(database, selected):
        if wanted.product is not None and verdict.product not in (None, wanted.product):
            continue
        if wanted.version is not None and verdict.product_version not in (None, wanted.version):
            continue
        yield _cells(verdict, (again or {}).get(verdict.result_id), found.shifts)


async def _write_lines(
    config: Config, found: Containment, again: Mapping[ResultId, JudgedAgain], write: Callable[[list[Any]], Any]
) -> int:
    lines = 0
    async with database_of(config) as database:
        async for line in lines_in(database, found, again):
            write(line)
            lines += 1
    return lines


def _cells(verdict: Verdict, again: JudgedAgain | None, shifts: Sequence[int]) -> list[Any]:
    is_near = verdict.outcome is Outcome.PASS and verdict.level is not None and verdict.level >= NEAR_LEVEL
    day, hour = shift_of(verdict.received_at, shifts)
    values = {
        **{name: getattr(verdict, name) for name in CSV_COLUMNS if hasattr(verdict, name)},
        "received_at": format_time(verdict.received_at),
        "shift": f"{day} {hour:02d}:00",
        "near": int(is_near),
        "flipped_to_level": None if again is None else again.level,
    }
    return [cell(values[name]) for name in CSV_COLUMNS]
