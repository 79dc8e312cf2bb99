"""How soon questions about a million results are answered: what is in question after an escape, drift, reviews.

    python -m benchmarks.million_results [--results 1000000]

The store is a SQLite file with 12 results a second of two products at four cameras, in lots of 20,000, and a review of
each thousandth. Printed are seconds of wall time for each question, asked once.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from inspector.config.config import Config
from inspector.domain import ReviewLabel
from inspector.operation.containment import contain
from inspector.operation.opening import database_of
from inspector.store import database as databases
from inspector.store import reviews
from inspector.store.database import Database
from inspector.store.ledger.containment import Suspicion
from inspector.store.ledger.levels import LevelsWanted, level_groups
from inspector.store.ledger.queries import ResultFilter, list_results
from inspector.store.reviews import ReviewFilter
from inspector.stream.verdict_record import format_time

RATE = 12
LOT_RESULTS = 20_000
REVIEWED_EVERY = 1000
START = datetime(2026, 1, 1, tzinfo=UTC)
RESULTS = """INSERT INTO results (schema, result_id, camera, view, epoch, lap, trigger_id, part_id, lot, product,
    product_version, outcome, cause, action, level, score, threshold, received_at, decided_at, shadow, simulated,
    redelivered, id_conflict, identity, frame_sha256, artifact_digest, config_digest, software, agent, regions)
    VALUES (1, ?, ?, '', 1, 0, ?, ?, ?, ?, 3, ?, ?, ?, ?, ?, 3.0, ?, ?, 0, 0, 0, 0, 'strong', ?, ?, ?, 'b', 'agent1',
    '[]')"""
REVIEWS = """INSERT INTO reviews (at, user_name, result_id, label, comment, is_blind) VALUES (?, 'ada', ?, ?, '', 0)"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=1_000_000, help="results in the store (1000000)")
    count: int = parser.parse_args().results
    with tempfile.TemporaryDirectory() as folder:
        config = Config.model_validate({"agent": {"state_dir": folder}})
        asyncio.run(make(Path(folder) / "inspector.db", count))
        ask(config, count)


async def make(file: Path, count: int) -> None:
    """Fill a new store."""
    async with Database(f"sqlite:///{file}") as database:
        await databases.upgrade(database)
    with sqlite3.connect(file) as store:
        store.execute("PRAGMA synchronous = OFF")
        store.executemany(RESULTS, result_rows(count))
        store.executemany(REVIEWS, review_rows(count))


def result_rows(count: int) -> Iterator[tuple[Any, ...]]:
    draw = random.Random(1)
    for number in range(count):
        at, level = moment(number), draw.gauss(0.2, 0.25)
        judged = ("pass", "ok", "pass") if level <= 1 else ("reject", "anomaly", "reject")
        named = (f"cam{number % 4 + 1}", number % 65_536, f"P{number}", f"L{number // LOT_RESULTS}")
        product = "bolt" if number % 4 < 3 else "nut"
        yield result_id(number), *named, product, *judged, level, 3 * level, at, at, "a" * 64, "d" * 64, "c" * 64


def review_rows(count: int) -> Iterator[tuple[Any, ...]]:
    for number in range(0, count, REVIEWED_EVERY):
        yield moment(number), result_id(number), "bad" if number % 3 else "good"


def result_id(number: int) -> str:
    return str(uuid.UUID(int=number))


def moment(number: int) -> str:
    return format_time(START + timedelta(seconds=number / RATE))


def ask(config: Config, count: int) -> None:
    """Print how long each question takes."""
    end = START + timedelta(seconds=count / RATE)
    for name, since in (("8 hours", timedelta(hours=8)), ("a day", timedelta(days=1)), ("all time", end - START)):
        timed(f"contain, {name}", partial(in_question, config, Suspicion(end - since, end)))
    timed("drift, 4 hours", lambda: asyncio.run(levels(config, end - timedelta(hours=4))))
    timed("reviews, newest 50", lambda: asyncio.run(newest_reviews(config)))
    timed("reviews, all bad parts of a product", lambda: asyncio.run(bad_parts(config)))
    timed("results, newest 50 of a product", lambda: asyncio.run(newest_results(config)))


def in_question(config: Config, suspicion: Suspicion) -> int:
    return contain(config, suspicion).total.rows


async def levels(config: Config, since: datetime) -> int:
    async with database_of(config) as database:
        return sum(group.rows for group in await level_groups(database, LevelsWanted(since), 50))


async def newest_reviews(config: Config) -> int:
    async with database_of(config) as database:
        return len(await reviews.listed(database, ReviewFilter(product="nut"), limit=50))


async def bad_parts(config: Config) -> int:
    async with database_of(config) as database:
        return len(await reviews.all_counting(database, "bolt", ReviewLabel.BAD))


async def newest_results(config: Config) -> int:
    async with database_of(config) as database:
        return len(await list_results(database, ResultFilter(product="nut")))


def timed(name: str, question: Callable[[], int]) -> None:
    began_s = time.perf_counter()
    rows = question()
    print(f"{name}: {rows} rows in {time.perf_counter() - began_s:.2f} s")


if __name__ == "__main__":
    main()
