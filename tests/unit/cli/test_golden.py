"""`inspector golden` shows the last challenges, for people and for machines."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

from inspector.agent.clock import SystemClock
from inspector.config.loading import load
from inspector.domain import ChallengeResult, GateState
from inspector.operation.opening import database_of
from inspector.store.ledger.ledger import SqlLedger
from inspector.testing.clock import START
from inspector.testing.samples import challenge_of, command_of


async def store() -> None:
    """One failed challenge of g1, and one of g2 that is under way."""
    async with database_of(load(None), creates=True) as database:
        ledger = SqlLedger(database, SystemClock())
        first = challenge_of("c1", by="a [b]")
        await ledger.record_command(command_of("c1"), [], first)
        failed = dataclasses.replace(first, result=ChallengeResult.FAILED, ended=START, detail="it took too long")
        await ledger.record_challenge(failed, GateState("g1"))
        await ledger.record_command(command_of("c2"), [], challenge_of("c2", gate="g2", version=7))


def test_golden_of_a_new_store_says_that_there_is_none(shell: Callable[..., Any]) -> None:
    assert shell("db", "upgrade").code == 0
    answer = shell("golden")
    assert (answer.code, answer.out.strip()) == (0, "No golden challenge was held.")
    assert shell("golden", "--json").document == []


def test_golden_shows_the_newest_first_and_one_gate_alone(shell: Callable[..., Any]) -> None:
    shell("db", "upgrade")
    asyncio.run(store())
    shown = shell("golden").out
    assert "it took too long" in shown
    assert "a [b]" in shown
    assert "bolt v7" in shown
    document = shell("golden", "--json").document
    assert [(each["challenge_id"], each["result"]) for each in document] == [("c2", "open"), ("c1", "failed")]
    assert document[1]["expected"] == [
        {"expected": "pass", "part_id": "G1"},
        {"expected": "reject", "part_id": None},
    ]
    assert [each["gate"] for each in shell("golden", "--gate", "g1", "--json").document] == ["g1"]
    assert len(shell("golden", "--limit", "1", "--json").document) == 1
    unknown = shell("golden", "--gate", "nope")
    assert unknown.code == 2
    assert "There is no gate 'nope'" in " ".join(unknown.err.split())
