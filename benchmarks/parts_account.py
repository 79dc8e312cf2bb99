"""How soon the account of parts answers: a store of a million parts, asked for an hour, a lot, and what has just come.

    python -m benchmarks.parts_account [--parts 1000000]

The store is a SQLite file with one row, one decision and one report for each part, 12 parts a second, in lots of
20,000. One report in a thousand is missing. Printed are seconds of wall time for each question, asked once.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from inspector.domain import GateTerms, PartSelection
from inspector.store import database as databases
from inspector.store.database import Database
from inspector.store.ledger.parts import count_parts, list_parts
from inspector.stream.accounting import count_classes
from inspector.stream.verdict_record import format_time

RATE = 12
LOT_PARTS = 20_000
MODULUS = 65_536
MISSING_EVERY = 1000
START = datetime(2026, 1, 1, tzinfo=UTC)
TERMS = (GateTerms("gate1"),)

RESULTS = """INSERT INTO results (schema, result_id, camera, view, gate, epoch, lap, trigger_id, lot, outcome, cause,
    action, received_at, decided_at, published, shadow, simulated, redelivered, id_conflict, identity, frame_sha256,
    config_digest, software, agent, regions)
    VALUES (1, ?, 'cam1', '', 'gate1', 1, ?, ?, ?, 'pass', 'ok', 'pass', ?, ?, 1, 0, 0, 0, 0, 'strong', ?, ?, 'b', 'a',
    '[]')"""
DECISIONS = """INSERT INTO decisions (gate, epoch, lap, trigger_id, action, cause, result_id, act_before, sent,
    updated_at) VALUES ('gate1', 1, ?, ?, 'pass', 'ok', ?, ?, 1, ?)"""
REPORTS = """INSERT INTO gate_actions (gate, epoch, trigger_id, action, source, done, received_at, lap, kind, lot)
    VALUES ('gate1', 1, ?, 1, 1, 0, ?, ?, 'part', ?)"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=int, default=1_000_000, help="parts in the store (1000000)")
    parts: int = parser.parse_args().parts
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "inspector.db"
        asyncio.run(make(file, parts))
        asyncio.run(ask(file, parts))


async def make(file: Path, parts: int) -> None:
    """Fill a new store."""
    async with Database(f"sqlite:///{file}") as database:
        await databases.upgrade(database)
    with sqlite3.connect(file) as store:
        store.execute("PRAGMA synchronous = OFF")
        store.executemany(RESULTS, result_rows(parts))
        store.executemany(DECISIONS, decision_rows(parts))
        store.executemany(REPORTS, report_rows(parts))


def result_rows(parts: int) -> Iterator[tuple[Any, ...]]:
    for number in range(parts):
        at = moment(number)
        lot = f"L{number // LOT_PARTS}"
        yield result_id(number), number // MODULUS, number % MODULUS, lot, at, at, "a" * 64, "c" * 64


def decision_rows(parts: int) -> Iterator[tuple[Any, ...]]:
    for number in range(parts):
        yield number // MODULUS, number % MODULUS, result_id(number), moment(number), moment(number)


def report_rows(parts: int) -> Iterator[tuple[Any, ...]]:
    for number in range(parts):
        if number % MISSING_EVERY:
            yield number % MODULUS, moment(number + RATE), number // MODULUS, f"L{number // LOT_PARTS}"


def result_id(number: int) -> str:
    return str(uuid.UUID(int=number))


def moment(number: int) -> str:
    return format_time(START + timedelta(seconds=number / RATE))


async def ask(file: Path, parts: int) -> None:
    """Print how long each question takes."""
    end = START + timedelta(seconds=parts / RATE)
    now = PartSelection(end + timedelta(seconds=60), TERMS)
    questions = {
        "the last hour": replace(now, since=end - timedelta(hours=1)),
        "a lot": replace(now, lot="L1"),
        "what has just come": replace(now, since=end - timedelta(seconds=120), after=end - timedelta(seconds=2)),
    }
    async with Database(f"sqlite:///{file}") as database:
        for name, wanted in questions.items():
            began_s = time.perf_counter()
            counts = await count_parts(database, wanted)
            counted_s = time.perf_counter()
            unacknowledged = [each.facts for each in counts if each.facts.ack is None]
            listed = await list_parts(database, wanted, having=unacknowledged, limit=50)
            listed_s = time.perf_counter()
            classes = count_classes(counts, TERMS)
            print(f"{name}: {classes.total()} parts counted in {counted_s - began_s:.2f} s, ", end="")
            print(f"{len(listed)} never acknowledged listed in {listed_s - counted_s:.2f} s")


if __name__ == "__main__":
    main()
