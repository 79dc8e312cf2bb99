"""A person's word from the command line to the next version, with the real engine; and a worker as a process."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from inspector.agent.clock import SystemClock
from inspector.config.loading import load
from inspector.domain import Cause, JobState, Outcome, Review, ReviewLabel, Verdict
from inspector.operation.opening import database_of
from inspector.store import jobs, reviews
from inspector.store.ledger.ledger import SqlLedger
from inspector.testing.samples import verdict_of_part
from tests.agents import Agent, inspector
from tests.parts import encoded

pytestmark = pytest.mark.acceptance

GOOD, BAD = range(26), range(26, 40)
WRONG = 11
"""A good part that somebody calls bad."""


def judged(agent: Agent, number: int) -> Verdict:
    """A part that the line has judged, with its kept picture."""
    is_good = number in GOOD
    payload = encoded("disc", 3000 + number, is_good)
    outcome = {} if is_good else {"outcome": Outcome.REJECT, "cause": Cause.ANOMALY}
    verdict = verdict_of_part(
        number,
        product="disc",
        product_version=1,
        level=0.4 if is_good else 1.6,
        part_id=f"P{number}",
        frame_sha256=hashlib.sha256(payload).hexdigest(),
        **outcome,
    )
    folder = agent.state / "images" / f"{verdict.decided_at:%Y-%m-%d}" / verdict.camera
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{verdict.result_id}.jpg").write_bytes(payload)
    return verdict


async def review(agent: Agent, parts: Sequence[Verdict]) -> None:
    clock = SystemClock()
    async with database_of(load(agent.config)) as database, SqlLedger(database, clock) as ledger:
        await ledger.record(parts, [], [])
        for number, part in enumerate(parts):
            label = ReviewLabel.GOOD if number in GOOD and number != WRONG else ReviewLabel.BAD
            await reviews.add(database, clock, Review(part.result_id, label, "ada", clock.now()))


def test_40_reviews_with_a_wrong_one_hold_the_new_version_back_and_name_the_part(
    agent: Callable[[str], Agent],
) -> None:
    line = agent("")
    parts = [judged(line, number) for number in (*GOOD, *BAD)]
    asyncio.run(review(line, parts))

    options = ("--with-reviews", "--profile", "fast", "--full-speed", "--json", "--config", line.config)
    held = inspector("enroll", "disc", *options)
    assert held.returncode == 1, held.stderr
    document = json.loads(held.stdout)
    assert (document["version"], document["live"]) == (2, False)
    named = [each for each in document["objections"] if "people called bad" in each]
    assert len(named) == 1, document["objections"]
    assert f"would pass 1 of {len(BAD) + 1} parts" in named[0]
    assert f"result {parts[WRONG].result_id[:8]}, part P{WRONG}" in named[0]
    assert f"part P{WRONG}" in held.stderr
    listed = json.loads(inspector("products", "list", "--all", "--json", "--config", line.config).stdout)
    assert [each["version"] for each in listed if each["product"] == "disc" and each["live"]] == [1]


def test_worker_once_does_what_waits_and_says_how_it_ended(tmp_path: Path) -> None:
    file = tmp_path / "inspector.toml"
    file.write_text(f'[agent]\nstate_dir = "{tmp_path / "state"}"\n')

    async def ask() -> int:
        async with database_of(load(file), creates=True) as database:
            request = {"product": "disc", "images": ["/nowhere/at/all"]}
            return (await jobs.ask(database, SystemClock(), "enrol", request, by="ada")).number

    async def state(number: int) -> tuple[JobState, str]:
        async with database_of(load(file)) as database:
            job = await jobs.job_of(database, number)
            return job.state, job.detail

    number = asyncio.run(ask())
    done = inspector("worker", "--once", "--config", file)
    assert done.returncode == 0, done.stderr
    ended, detail = asyncio.run(state(number))
    assert ended is JobState.FAILED
    assert "/nowhere/at/all" in detail
    assert "job_ends" in done.stderr
