"""Results as lines of a file for other programs: JSON lines with every field, or CSV for spreadsheets."""

from __future__ import annotations

import csv
import enum
from collections.abc import Callable
from typing import Any, TextIO

import orjson

from inspector.config.config import Config
from inspector.domain import Verdict
from inspector.operation.csv_cells import cell
from inspector.operation.opening import database_of
from inspector.store.ledger.queries import ResultFilter, each_result
from inspector.stream.verdict_record import EXTRA_KEYS, RECORD_KEYS, journal_record
from inspector.text import escaped_json


class ExportForm(enum.StrEnum):
    """How a result becomes a line."""

    JSONL = "jsonl"
    CSV = "csv"


async def export_results(
    config: Config, wanted: ResultFilter, form: ExportForm, file: TextIO, progress: Callable[[str, int, int], None]
) -> int:
    """Write all results that match, in the order of recording, and return their number.

    They are read page by page in short transactions, so that writers never wait and no memory is needed for all.
    """
    write = _csv_writer(file) if form is ExportForm.CSV else _jsonl_writer(file)
    rows = 0
    async with database_of(config) as database:
        async for verdict in each_result(database, wanted):
            write(verdict)
            rows += 1
            if rows % 1000 == 0:
                progress("results", rows, 0)
    return rows


def _jsonl_writer(file: TextIO) -> Callable[[Verdict], None]:
    return lambda verdict: _write_line(file, escaped_json(orjson.dumps(journal_record(verdict)).decode()))


def _write_line(file: TextIO, line: str) -> None:
    file.write(f"{line}\n")


def _csv_writer(file: TextIO) -> Callable[[Verdict], None]:
    writer = csv.writer(file)
    columns = (*RECORD_KEYS, *EXTRA_KEYS)
    writer.writerow(columns)

    def write(verdict: Verdict) -> None:
        record: dict[str, Any] = journal_record(verdict) | {"regions": None}
        record["regions"] = orjson.dumps(journal_record(verdict)["regions"]).decode()
        writer.writerow([cell(record[column]) for column in columns])

    return write
