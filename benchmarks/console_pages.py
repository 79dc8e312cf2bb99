"""How soon the console's pages answer on a store of a million results, on SQLite or PostgreSQL.

    python -m benchmarks.console_pages [--results 1000000] [--url postgresql://...] [--rounds 20] [--folder FOLDER]

The store has two cameras at gates, 20 parts a second, two products, 1 % rejects, lots of 20,000, and a decision and a
report for each part. Each page is asked for once, and then in rounds with pauses, which are long enough for counts to
get old and be made anew. Printed is the server's time for each page, in milliseconds: the first answer, and median and
95th percentile of the ones after it; then the same two of the processor's time of this process, which other work on
the machine changes less. That has in it what is counted in the background meanwhile, and not what PostgreSQL does. The
pages are asked for without a network; no picture is on this machine. A store that is asked again is asked as if it were
the moment of its newest row.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import re
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import sqlalchemy as sa
from starlette.applications import Starlette

from inspector.agent.garbage import set_start_apart
from inspector.config.config import Config
from inspector.config.loading import parse
from inspector.console.app import application
from inspector.console.live import Live
from inspector.console.passwords import hashed
from inspector.domain import Role
from inspector.store import tables
from inspector.store.console import people
from inspector.store.console.hours import keep_hour
from inspector.store.console.rows import newest_seq
from inspector.store.database import Database, configured, upgrade

RATE = 20
LOT_PARTS = 20_000
PASSWORD = "a good long password"
CHUNK = 20_000
PAUSE_S = 1.0
PAGES = (
    "/",
    "/results",
    "/results?outcome=reject",
    "/results?outcome=uninspected",
    "/results?outcome=unjudged&cause=late",
    "/results?lot=L3",
    "/results?product=none",
    "/results?camera=cam2",
    "/review",
    "/review?queue=near_miss",
    "/review?queue=drawn_pass",
    "/shift",
    "/health",
    "/audit",
    "/people",
)
COUNTED = ("/products", "/parts", "/contain")
"""What these count in the background is over before the next round begins, and is not charged to other pages."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=1_000_000, help="results in the store (1000000)")
    parser.add_argument("--rounds", type=int, default=20, help="how often each page is asked for (20)")
    parser.add_argument("--url", help="an empty PostgreSQL database; SQLite in a temporary folder if unset")
    parser.add_argument("--folder", type=Path, help="where the SQLite store is kept; one that is there is asked again")
    arguments = parser.parse_args()
    if arguments.folder is not None:
        asyncio.run(measure(arguments.folder, arguments.results, arguments.rounds, arguments.url))
        return
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder), arguments.results, arguments.rounds, arguments.url))


async def measure(folder: Path, results: int, rounds: int, url: str | None) -> None:
    """Fill the store, ask for each page, and print."""
    config = _config(folder, url)
    async with configured(config) as database:
        await upgrade(database)
        if not await newest_seq(database):
            await _fill(database, results)
        now = await _stand_at_the_newest_row(database)
        if not await people.has_people(database):
            await people.add_person(
                database, "eva", Role.ENGINEER, hashed(PASSWORD), now=now, by="bench", reason="to measure"
            )
        began_s = time.perf_counter()
        hours = 0
        while await keep_hour(database, now, timedelta(hours=24)):
            hours += 1
        print(f"{hours} hours counted in {time.perf_counter() - began_s:.1f} s")
    await _ask(config, rounds)


async def _stand_at_the_newest_row(database: Database) -> datetime:
    """Set the console's clock so that its last hour is full of parts."""
    query = sa.select(sa.func.max(tables.results.c.received_at, type_=tables.results.c.received_at.type))
    async with database.reading() as connection:
        newest: datetime = (await connection.execute(query)).scalar_one()
    offset = datetime.now(UTC) - newest
    Live.now = staticmethod(lambda: datetime.now(UTC) - offset)  # type: ignore[method-assign]  # no page knows another
    return newest


def _config(folder: Path, url: str | None) -> Config:
    store = {} if url is None else {"url": url}
    cameras = [{"name": name, "on_unjudged": "reject"} for name in ("cam1", "cam2")]
    gates = [
        {"name": f"gate-{name}", "cameras": [name], "window_ms": 1000, "trigger_source": "camera"}
        for name in ("cam1", "cam2")
    ]
    return parse(
        {"agent": {"name": "a", "state_dir": str(folder)}, "store": store, "camera": cameras, "gate": gates}, None
    )


async def _fill(database: Database, count: int) -> None:
    start = datetime.now(UTC) - timedelta(seconds=count / RATE)
    for begin in range(0, count, CHUNK):
        rows = list(_rows(begin, min(begin + CHUNK, count), start))
        async with database.writing() as connection:
            for table, number in ((tables.results, 0), (tables.decisions, 1), (tables.gate_actions, 2)):
                await connection.execute(table.insert(), [row[number] for row in rows])
    if database.is_sqlite and database.path is not None:
        with sqlite3.connect(database.path) as store:
            store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    else:
        async with database.writing() as connection:
            await connection.execute(sa.text("ANALYZE"))


def _rows(begin: int, end: int, start: datetime) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """A result, its decision and its report."""
    for number in range(begin, end):
        at = start + timedelta(seconds=number / RATE)
        camera, is_reject = ("cam1", "cam2")[number % 2], number % 100 == 7
        action, result_id = ("reject" if is_reject else "pass"), str(uuid.UUID(int=number, version=5))
        part = {"gate": f"gate-{camera}", "epoch": 1, "lap": 0, "trigger_id": number // 2}
        level = 1.4 if is_reject else (number % 97) / 100
        regions = [{"x": 10, "y": 20, "width": 30, "height": 40, "area": 900, "peak_level": 1.5}] if is_reject else []
        result = {
            **part,
            "schema": 1,
            "result_id": result_id,
            "camera": camera,
            "view": "",
            "lot": f"L{number // LOT_PARTS}",
            "product": ("ring", "plate")[number % 2],
            "product_version": 1,
            "outcome": action,
            "cause": "anomaly" if is_reject else "ok",
            "action": action,
            "level": level,
            "score": 10 + level,
            "threshold": 11.0,
            "received_at": at,
            "decided_at": at,
            "published": True,
            "shadow": False,
            "simulated": False,
            "redelivered": False,
            "id_conflict": False,
            "identity": "strong",
            "frame_sha256": "a" * 64,
            "config_digest": "c" * 64,
            "software": "bench",
            "agent": "a",
            "regions": regions,
        }
        decision = {**part, "action": action, "cause": result["cause"], "result_id": result_id, "act_before": at}
        report = {**part, "action": 2 if is_reject else 1, "source": 1, "done": 1, "received_at": at, "kind": "part"}
        yield result, {**decision, "sent": 1, "updated_at": at}, report


async def _ask(config: Config, rounds: int) -> None:
    app = application(config, configured(config))
    app.state.console.pages.load_templates()
    set_start_apart()  # as the served console does
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            ticket = _found(r'name="ticket" value="([^"]+)"', (await client.get("/sign-in")).text)
            await client.post("/sign-in", data={"ticket": ticket, "name": "eva", "password": PASSWORD})
            rejects = (await client.get("/results?outcome=reject")).text
            older = _found(r'href="(/results\?[^"]*before=[^"]*)"', rejects).replace("&amp;", "&")
            pages = [*PAGES, older, _found(r'href="(/part/[^"]+)"', rejects), *COUNTED]
            first = {page: await _time_ms(client, page) for page in pages}
            later: dict[str, list[tuple[float, float]]] = {page: [] for page in pages}
            for _ in range(rounds):
                await _rest(app)
                for page in pages:
                    later[page].append(await _time_ms(client, page))
    names = ("first", "median", "p95", "busy", "busy p95")
    print(f"{'page':44}" + "".join(f" {name:>8}" for name in names))
    for page in pages:
        walls, busy = sorted(wall for wall, _ in later[page]), sorted(cpu for _, cpu in later[page])
        middle, last = rounds // 2, math.ceil(0.95 * rounds) - 1
        figures = (first[page][0], walls[middle], walls[last], busy[middle], busy[last])
        print(f"{page[:44]:44}" + "".join(f" {each:8.0f}" for each in figures))


async def _rest(app: Starlette) -> None:
    """Pause until nothing is being counted."""
    await asyncio.sleep(PAUSE_S)
    for each in (app.state.accounts, app.state.drifts, app.state.containments):
        await each.counts.settled()


def _found(pattern: str, page: str) -> str:
    found = re.search(pattern, page)
    if found is None:
        raise SystemExit(f"a page has nothing like {pattern}")
    return found[1]


async def _time_ms(client: httpx2.AsyncClient, page: str) -> tuple[float, float]:
    """Wall time and processor time of one answer."""
    began_s, busy_s = time.perf_counter(), time.process_time()
    answer = await client.get(page, headers={"accept": "text/html"})
    if answer.status_code != 200:
        raise SystemExit(f"{page} answers {answer.status_code}: {answer.text[:300]}")
    return (time.perf_counter() - began_s) * 1e3, (time.process_time() - busy_s) * 1e3


if __name__ == "__main__":
    main()
